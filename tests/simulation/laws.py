"""What must hold at any moment: judged at each write to etcd, and at each look at the parts.

Numbers as in docs/invariants.md. A broken law raises ``ViolationError``, which ends the example.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from janusmanager.api import Marker
from pkg import keys
from pkg.etcd.api import KV
from pkg.model import JanusState, Kind, LiveMeta, MixerState, ModuleId, RoomId, Slot

if TYPE_CHECKING:
    from tests.simulation.world import World


class ViolationError(AssertionError):
    """An invariant does not hold; the text says which, and how."""


def must(holds: object, what: str) -> None:
    if not holds:
        raise ViolationError(what)


class Laws:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._lives: dict[RoomId, LiveMeta] = {}
        self._highest: dict[RoomId, int] = {}
        self._served: dict[tuple[str, RoomId], int] = {}

    # -- at each write ---------------------------------------------------------------------

    def wrote(self, who: str, key: str, kv: KV | None) -> None:
        room, module = keys.parse_room(key), keys.parse_module(key)
        if room is not None:
            self._wrote_room(who, room[0], room[1], kv)
        elif module is not None and kv is not None:
            self._wrote_module(who, module[0], module[1], module[2], kv)

    def _wrote_room(self, who: str, room_id: RoomId, leaf: str, kv: KV | None) -> None:
        if leaf == "livemeta" and kv is not None:
            self._wrote_live(who, LiveMeta.decode(kv.value), kv)
        elif kv is not None and leaf in {"janus", "mixer"}:
            self._wrote_observed(who, room_id, Kind(leaf), kv)
        if leaf in {"meta", "livemeta"} and kv is not None:
            must(who.startswith("r"), f"I1: {who} wrote {room_id}/{leaf}")

    def _wrote_live(self, who: str, live: LiveMeta, kv: KV) -> None:
        before = self._lives.get(live.room_id)
        self._lives[live.room_id] = live
        highest = self._highest.get(live.room_id, 0)
        self._highest[live.room_id] = max(highest, live.epoch)
        must(live.epoch == max(live.janus_epoch, live.mixer_epoch), f"I3: epoch of {live}")
        must(live.epoch < kv.mod_revision, f"I3: {live.room_id} has an epoch of the future")
        if before is None or before.nonce != live.nonce:
            must(live.epoch > highest, f"I3: {live.room_id} began epoch {live.epoch} <= {highest}")
            return
        for kind in Kind:
            self._judge_half(who, kind, before, live)

    def _judge_half(self, who: str, kind: Kind, before: LiveMeta, live: LiveMeta) -> None:
        old, new = before.half_epoch(kind), live.half_epoch(kind)
        must(new >= old, f"I3: {kind} epoch of {live.room_id} fell from {old} to {new}")
        if before.module(kind) != live.module(kind):
            must(new > max(before.epoch, old), f"I3: {live.room_id} moved without a new epoch")
            self._world.moved(kind, before, live, who)

    def _wrote_observed(self, who: str, room_id: RoomId, kind: Kind, kv: KV) -> None:
        state = (JanusState if kind is Kind.JANUS else MixerState).decode(kv.value)
        live = self._world.live(room_id)
        must(live is not None, f"I4: {who} wrote the {kind} key of {room_id}, which is not started")
        if live is not None:
            right = (live.module(kind), live.half_epoch(kind))
            must(
                (who, state.epoch) == right,
                f"I4: {who} wrote epoch {state.epoch} of {room_id}'s {kind}; it is at {right}",
            )

    def _wrote_module(self, who: str, kind: Kind, module_id: ModuleId, rest: str, kv: KV) -> None:
        if rest == "heartbeat":
            must(who == module_id, f"I1: {who} wrote the heartbeat of {module_id}")
        if rest.startswith("slots/"):
            number = int(rest.removeprefix("slots/"))
            must(number < self._world.capacity(module_id), f"I2: {module_id} has a slot {number}")
            must(who.startswith("r"), f"I1: {who} wrote a slot of {module_id}")
            Slot.decode(kv.value)

    # -- at each look ----------------------------------------------------------------------

    def look(self) -> None:
        fed = [(host, process) for host in self._world.studio.hosts for process in host.fed()]
        if fed:
            epochs = Counter((p.running.room_id, p.running.epoch) for _, p in fed)
            twice = [where for where, n in epochs.items() if n > 1]
            must(not twice, f"I5: two FFmpegs are fed for one epoch: {twice}")
            sources = self._world.studio.sources()
            for host, process in fed:
                heard = sources.get((host.ip, process.running.port), set())
                rooms = {m.room_id for m in map(Marker.parse, heard) if m is not None}
                must(
                    rooms <= {process.running.room_id},
                    f"I6: {process.running} on {host.name} hears {sorted(rooms)}",
                )

    def ports(self) -> None:
        for host in self._world.studio.hosts:
            clashes = [p.running for p in host.machine.alive() if p.clash]
            must(not clashes, f"I6: ports given twice on {host.name}: {clashes}")

    def served(self, replica: str, room_id: RoomId, sequence: int) -> None:
        """A playlist's media sequence, as ``replica`` serves it."""
        last = self._served.get((replica, room_id), 0)
        must(sequence >= last, f"I12: {replica} served {sequence} of {room_id} after {last}")
        self._served[replica, room_id] = sequence


def described(changes: Sequence[tuple[str, KV | None]]) -> str:
    return ", ".join(f"{key}{'' if kv else ' gone'}" for key, kv in changes)

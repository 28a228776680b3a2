"""The room manager's copy of etcd, as rooms, modules and ended rooms; all at one revision."""

import random
from contextlib import suppress

import anyio

from pkg import keys
from pkg.etcd.api import KV, Etcd
from pkg.informer import Informer, UndecodableError, decode
from pkg.model import Ended, Gateway, LiveMeta, ModuleId, RoomId
from roommanager.facts import RoomFacts, gather
from roommanager.fleet import Fleet

EVERYTHING = "/"  # one range, so that rooms and modules are seen at the same revision


class View:
    def __init__(self, etcd: Etcd, rng: random.Random) -> None:
        self.informer = Informer(etcd, (EVERYTHING,), rng)
        self.fleet = Fleet()
        self.gateways: dict[str, Gateway] = {}
        self._ended: dict[RoomId, set[ModuleId]] = {}
        self._changed: dict[RoomId, anyio.Event] = {}
        self.informer.on_change(self._apply)

    @property
    def revision(self) -> int:
        return self.informer.revision(EVERYTHING)

    def room(self, room_id: RoomId) -> RoomFacts:
        """Raises UndecodableError."""
        return gather(room_id, self.revision, self.informer.get, self.fleet)

    def live(self, room_id: RoomId) -> LiveMeta | None:
        """The room's wish alone, decoded once per change. Raises UndecodableError."""
        return self.informer.record(keys.room(room_id, "livemeta"), LiveMeta)

    def rooms(self) -> list[RoomId]:
        found = (keys.parse_room(key) for key in self.informer.keys(keys.ROOMS))
        return sorted({parsed[0] for parsed in found if parsed})

    def ended(self, room_id: RoomId) -> Ended | None:
        """A stopped room's after-life, for 60 s; of several (two stops, two mixers) the newest.

        Raises UndecodableError.
        """
        found = (
            self.informer.record(keys.ended(m, room_id), Ended) for m in self.ended_on(room_id)
        )
        return max((e for e in found if e), key=lambda e: e.epoch, default=None)

    def ended_on(self, room_id: RoomId) -> list[ModuleId]:
        """The mixers that keep something for a stopped room."""
        return sorted(self._ended.get(room_id, ()))

    async def changed(self, room_id: RoomId) -> None:
        """Wait for the next change of any of the room's keys, its hosts' among them."""
        await self._changed.setdefault(room_id, anyio.Event()).wait()

    def _apply(self, key: str) -> None:
        kv = self.informer.get(key)
        self.fleet.apply(key, kv)
        parsed = keys.parse_room(key) or (
            keys.parse_user(key) if key.startswith(keys.HOSTS) else None
        )
        if parsed is not None:
            event = self._changed.pop(parsed[0], None)
            if event is not None:
                event.set()
        elif key.startswith(keys.ENDED):
            self._apply_ended(key, gone=kv is None)
        elif key.startswith(keys.GATEWAYS):
            self._apply_gateway(key, kv)

    def _apply_gateway(self, key: str, kv: KV | None) -> None:
        """One that cannot be read is none."""
        self.gateways.pop(key, None)
        if kv is not None:
            with suppress(UndecodableError):
                self.gateways[key] = decode(kv, Gateway)

    def _apply_ended(self, key: str, *, gone: bool) -> None:
        mixer, _, room = key.removeprefix(keys.ENDED).partition("/")
        room_id, mixer_id = RoomId(room), ModuleId(mixer)
        mixers = self._ended.setdefault(room_id, set())
        if gone:
            mixers.discard(mixer_id)
        else:
            mixers.add(mixer_id)
        if not mixers:
            del self._ended[room_id]

"""A module's share of etcd: its slots, and the rooms that hold them. Used by both managers.

The module watches its own slots, and for each room in them the room's keys, so that its cost
grows with its own rooms and not with the fleet's. A change puts the room's id into the queue.
"""

import random
import re
from collections.abc import Collection
from dataclasses import dataclass

import anyio
import structlog
from pydantic import ValidationError

from pkg import keys
from pkg.etcd.api import Compare, Delete, Etcd, ModIs, Op, Put, commit
from pkg.heartbeat import WELL, Wellness
from pkg.informer import Informer, UndecodableError
from pkg.model import Desired, Epoch, Kind, LiveMeta, ModuleId, Record, RoomId, Slot
from pkg.workqueue import WorkQueue

log = structlog.get_logger()

SHOWN_SECONDS = 0.25
BLIND_SECONDS = 10.0  # longer than any watch takes to resume


@dataclass(frozen=True, slots=True)
class Held:
    """A place of ours that a room holds, for one epoch."""

    number: int
    epoch: Epoch
    revision: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """What etcd wants of this module for one room.

    ``wanted``: the epoch that should run here now; None if nothing should. ``leaving``: the epoch
    that another one replaces make-before-break (mixers only): what it has stays untouched, until
    livemeta names it no more. ``keep`` holds epochs while the room is stopping here: what was
    published under them must stay for a while.
    """

    room_id: RoomId
    held: tuple[Held, ...]
    live: LiveMeta | None
    live_revision: int
    wanted: Epoch | None
    keep: frozenset[Epoch] = frozenset()
    leaving: Epoch | None = None

    def holds(self, epoch: Epoch) -> bool:
        return any(h.epoch == epoch for h in self.held)


class Assignments:
    """``extra``: more key ranges for the module's own use; ``informer`` has them too."""

    def __init__(
        self,
        etcd: Etcd,
        kind: Kind,
        module_id: ModuleId,
        queue: WorkQueue[str],
        rng: random.Random,
        extra: Collection[str] = (),
    ) -> None:
        self._etcd = etcd
        self._kind = kind
        self._id = module_id
        self._queue = queue
        self._slots = keys.slots_prefix(kind, module_id)
        self._held: dict[RoomId, dict[int, Held]] = {}
        self._holder: dict[int, RoomId] = {}
        self.informer = Informer(etcd, (self._slots, *extra), rng)
        self.informer.on_change(self._notice)

    def rooms(self) -> set[RoomId]:
        """Every room that holds a place here."""
        return set(self._held)

    def held(self, room_id: RoomId) -> tuple[Held, ...]:
        """The places a room holds, by number; known as soon as our slots are listed."""
        return tuple(sorted(self._held.get(room_id, {}).values(), key=lambda h: h.number))

    def follow(self, room_id: RoomId) -> None:
        """Watch a room's keys; done by itself for rooms that hold a place."""
        self.informer.follow(keys.room_prefix(room_id))

    def unfollow(self, room_id: RoomId) -> None:
        if room_id not in self._held:
            self.informer.unfollow(keys.room_prefix(room_id))

    def get(self, room_id: RoomId) -> Assigned | None:
        """None while the room's keys are not listed yet, or not as new as its places: nothing may
        be concluded then. (Two watches: a place may show before the wish it was taken with.)

        Raises UndecodableError.
        """
        prefix, held = keys.room_prefix(room_id), self.held(room_id)
        if not self.informer.is_listed(prefix):
            return None
        if any(h.revision > self.informer.revision(prefix) for h in held):
            return None
        key = keys.room(room_id, "livemeta")
        live = self.informer.record(key, LiveMeta)
        mine = live is not None and live.module(self._kind) == self._id
        epoch = live.half_epoch(self._kind) if live and mine else None
        replaced = self._replaced(live)
        on_air = live is not None and live.status is Desired.ONAIR
        stopping = live is not None and live.status is Desired.STOPPING
        return Assigned(
            room_id=room_id,
            held=held,
            live=live,
            live_revision=self.informer.mod_revision(key),
            wanted=epoch if on_air and any(h.epoch == epoch for h in held) else None,
            keep=frozenset(e for e in (epoch, replaced) if stopping and e is not None),
            leaving=replaced if on_air else None,
        )

    def _replaced(self, live: LiveMeta | None) -> Epoch | None:
        """The epoch of the mixer being replaced, if that is we."""
        if live is None or live.previous is None or self._kind is not Kind.MIXER:
            return None
        return live.previous.epoch if live.previous.mixer_id == self._id else None

    def wellness(self) -> Wellness:
        """A module that does not see what it is given is to be given no more."""
        since = self.informer.broken_since
        if since is None or anyio.current_time() - since < BLIND_SECONDS:
            return WELL
        return Wellness("busy", "it cannot follow etcd: see its log")

    async def report(self, assigned: Assigned, leaf: keys.RoomLeaf, state: Record) -> None:
        """Write the observed key, if the assignment still stands. Raises ConflictError."""
        key = keys.room(assigned.room_id, leaf)
        guards = [self._live(assigned), *self._places(assigned, assigned.wanted)]
        await self._commit(key, guards, [Put(key, state.encode())])

    async def withdraw(self, assigned: Assigned, leaf: keys.RoomLeaf, epochs: set[Epoch]) -> None:
        """Give back the places of ``epochs``, of which nothing runs any more.

        The observed key goes with them if it is of one of those epochs. Raises ConflictError.
        """
        slots = [h for h in assigned.held if h.epoch in epochs]
        guards: list[Compare] = [self._live(assigned), *(self._place(h) for h in slots)]
        ops: list[Op] = [Delete(keys.slot(self._kind, self._id, h.number)) for h in slots]
        key = keys.room(assigned.room_id, leaf)
        if self._tells_of(key, assigned, epochs):
            guards.append(ModIs(key, self.informer.mod_revision(key)))
            ops.append(Delete(key))
        if ops:
            await self._commit(self._slots, guards, ops)

    def _tells_of(self, key: str, assigned: Assigned, epochs: set[Epoch]) -> bool:
        """Is the observed key of one of these epochs? What cannot be read is the present one's."""
        try:
            observed = self.informer.record(key, _Observed)
        except UndecodableError:
            live = assigned.live
            mine = live is not None and live.module(self._kind) == self._id
            return bool(live and mine and live.half_epoch(self._kind) in epochs)
        return observed is not None and observed.epoch in epochs

    async def _commit(self, key: str, guards: list[Compare], ops: list[Op]) -> None:
        """Commit, then give the copy a moment to show it, so that it is not written twice."""
        revision = await commit(self._etcd, guards, ops)
        with anyio.move_on_after(SHOWN_SECONDS):
            await self.informer.reached(key, revision)

    def _live(self, assigned: Assigned) -> Compare:
        return ModIs(keys.room(assigned.room_id, "livemeta"), assigned.live_revision)

    def _places(self, assigned: Assigned, epoch: Epoch | None) -> list[Compare]:
        return [self._place(h) for h in assigned.held if h.epoch == epoch]

    def _place(self, held: Held) -> Compare:
        return ModIs(keys.slot(self._kind, self._id, held.number), held.revision)

    def _notice(self, key: str) -> None:
        parsed = keys.parse_room(key)
        if parsed is not None:
            self._queue.add(parsed[0])
        elif key.startswith(keys.ROOMS):
            self._queue.add(key.removeprefix(keys.ROOMS).rstrip("/"))
        elif key.startswith(self._slots) and key != self._slots:
            self._notice_slot(key)

    def _notice_slot(self, key: str) -> None:
        name = key.removeprefix(self._slots)
        if not re.fullmatch("[0-9]{1,9}", name):
            log.error("slot.misnamed", key=key)
            return
        number = int(name)
        kv = self.informer.get(key)
        before = self._holder.pop(number, None)
        if before is not None:
            self._held[before].pop(number, None)
            if not self._held[before]:
                del self._held[before]
            self._queue.add(before)
        if kv is None:
            return
        try:
            slot = Slot.decode(kv.value)
        except ValidationError as error:
            log.error("slot.undecodable", key=key, errors=error.error_count())
            return
        self._holder[number] = slot.room_id
        held = Held(number, slot.epoch, kv.mod_revision)
        self._held.setdefault(slot.room_id, {})[number] = held
        self.follow(slot.room_id)
        self._queue.add(slot.room_id)


class _Observed(Record):
    """What the two observed records have in common."""

    epoch: Epoch

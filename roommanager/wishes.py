"""What users ask for, made true in etcd: create, start, stop, delete. Called by ``api``.

Every verb may be repeated. A compare that fails is read again and planned again; an answer that
was lost is read back, never sent again blindly. Nothing is answered before it is committed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio
import structlog

from pkg import keys
from pkg.errors import OnairError, TransientError
from pkg.etcd.api import AmbiguousError, ConflictError, Etcd
from pkg.events.records import (
    Event,
    RoomAssigned,
    RoomCreated,
    RoomDeleted,
    RoomRemoving,
    RoomStopping,
)
from pkg.model import Desired, Kind, LiveMeta, ModuleId, RoomId, RoomMeta
from roommanager import execute
from roommanager.allocator import Allocator, BusyError, NoCapacityError, Place
from roommanager.deeds import UNTOLD, Telling
from roommanager.facts import RoomFacts, from_kvs
from roommanager.fleet import Fleet
from roommanager.view import View

log = structlog.get_logger()

STOPPING_SECONDS = 15.0
SETTLE_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 0.25


class RoomNotFoundError(OnairError):
    pass


class RoomExistsError(OnairError):
    def __init__(self, facts: RoomFacts) -> None:
        super().__init__(f"room {facts.room_id} exists already")
        self.facts = facts


class RoomRemovingError(OnairError):
    pass


class StillStoppingError(TransientError):
    pass


@dataclass(frozen=True, slots=True)
class Sources:
    """The impure: time as RFC 3339 UTC, fresh unguessable nonces, and where deeds are told."""

    now: Callable[[], str]
    nonce: Callable[[], str]
    deeds: Telling = UNTOLD


class Wishes:
    def __init__(self, etcd: Etcd, view: View, allocator: Allocator, sources: Sources) -> None:
        self._etcd = etcd
        self._view = view
        self._allocator = allocator
        self._sources = sources
        self._deeds = sources.deeds

    async def read(self, room_id: RoomId) -> RoomFacts:
        """The room as etcd has it now (linearizable). Raises RoomNotFoundError."""
        snapshot = await self._etcd.range(keys.room_prefix(room_id))
        facts = from_kvs(room_id, snapshot.revision, snapshot.kvs, self._view.fleet)
        if facts.meta is None:
            raise RoomNotFoundError(f"there is no room {room_id}")
        return facts

    async def create(
        self,
        room_id: RoomId,
        pin_hash: str | None,
        metadata: dict[str, Any],
        max_participants: int | None = None,
    ) -> RoomFacts:
        """Raises RoomExistsError, unless it is this very call that made it."""
        meta = RoomMeta(
            room_id=room_id,
            created_at=self._sources.now(),
            pin_hash=pin_hash,
            max_participants=max_participants,
            metadata=metadata,
            call=self._sources.nonce(),
        )
        while True:
            try:
                with self._deeds.telling(RoomCreated(room_id=room_id), meta.call):
                    revision = await execute.create(self._etcd, meta)
            except ConflictError:
                facts = await self._find(room_id)
                if facts is not None:
                    raise RoomExistsError(facts) from None
            except AmbiguousError:
                return await self._created_after_all(meta)
            else:
                log.info("room.created", room=room_id)
                return RoomFacts(room_id, revision, meta, revision)

    async def _find(self, room_id: RoomId) -> RoomFacts | None:
        """None if there is no such room (any more)."""
        try:
            return await self.read(room_id)
        except RoomNotFoundError:
            return None

    async def _created_after_all(self, meta: RoomMeta) -> RoomFacts:
        facts = await self._find(meta.room_id)
        if facts is None:
            raise TransientError("etcd did not say whether the room was created")
        if facts.meta != meta:
            raise RoomExistsError(facts)
        self._deeds.landed(meta.call)
        return facts

    async def start(self, room_id: RoomId) -> RoomFacts:
        """Place the room, or find it placed. Waits for an earlier stop to end.

        Raises RoomNotFoundError, RoomRemovingError, StillStoppingError, NoCapacityError.
        """
        facts = self._view.room(room_id)
        if facts.meta is None or facts.live is not None:
            facts = await self.read(room_id)
        fresh = False
        deadline = anyio.current_time() + STOPPING_SECONDS
        while True:
            live = facts.live
            if live is None:
                placed = await self._assign(facts, fresh=fresh)
                if placed is not None:
                    return placed
                fresh = True
            elif live.status is Desired.ONAIR:
                return facts
            elif live.status is Desired.REMOVING:
                raise RoomRemovingError(f"room {room_id} is being removed")
            else:
                await self._changed(room_id, deadline)
            facts = await self.read(room_id)

    async def _assign(self, facts: RoomFacts, *, fresh: bool) -> RoomFacts | None:
        """One attempt; None if something changed meanwhile and it must be planned again."""
        self._allocator.shown(self._view.revision)
        try:
            places = await self._choose(fresh=fresh)
        except BusyError:
            with anyio.move_on_after(SETTLE_SECONDS):
                await self._allocator.settled()
            return None
        now, nonce = self._sources.now(), self._sources.nonce()
        live = execute.assignment(facts, places, nonce=nonce, now=now)
        async with self._allocator.claiming(places) as claim:
            claim.revision = await self._commit_assignment(facts, live, places)
            if claim.revision is None:
                return None
        log.info("room.placed", room=facts.room_id, epoch=live.epoch, **live.placed)
        return replace(facts, live=live, live_revision=claim.revision, janus=None, mixer=None)

    async def _choose(self, *, fresh: bool) -> dict[Kind, Place]:
        """From the copy; but nobody is refused on old facts."""
        if not fresh:
            try:
                return self._allocator.choose(self._view.fleet, self._view.revision)
            except NoCapacityError:
                pass
        snapshot = await self._etcd.range(keys.MODULES)
        return self._allocator.choose(Fleet(snapshot.kvs), snapshot.revision)

    async def _commit_assignment(
        self, facts: RoomFacts, live: LiveMeta, places: dict[Kind, Place]
    ) -> int | None:
        try:
            with self._deeds.telling(_assigned(live), live.nonce):
                return await execute.assign(self._etcd, facts, live, places)
        except ConflictError:
            return None
        except AmbiguousError:
            found = await self.read(facts.room_id)
            if found.live is None or found.live.nonce != live.nonce:
                return None
            self._deeds.landed(live.nonce)
            return found.live_revision

    async def _changed(self, room_id: RoomId, deadline: float) -> None:
        """Wait for news of a room that is stopping. Raises StillStoppingError."""
        if anyio.current_time() >= deadline:
            raise StillStoppingError(f"room {room_id} has not ended its last time on air yet")
        with anyio.move_on_after(LOOK_AGAIN_SECONDS):
            await self._view.changed(room_id)

    async def stop(self, room_id: RoomId) -> RoomFacts:
        """Raises RoomNotFoundError, RoomRemovingError."""
        while True:
            facts = await self.read(room_id)
            if facts.live is None or facts.live.status is Desired.STOPPING:
                return facts
            if facts.live.status is Desired.REMOVING:
                raise RoomRemovingError(f"room {room_id} is being removed")
            event = RoomStopping(room_id=room_id, epoch=facts.live.epoch)
            ended = await self._end(facts, Desired.STOPPING, event)
            if ended is not None:
                log.info("room.stopping", room=room_id)
                return ended

    async def delete(self, room_id: RoomId) -> RoomFacts:
        """An idle room is gone at once, another once its modules have ended their part.

        Raises RoomNotFoundError.
        """
        while True:
            facts = await self.read(room_id)
            if facts.live is None:
                removed = await self._remove_idle(facts)
            elif facts.live.status is Desired.REMOVING:
                return facts
            else:
                event = RoomRemoving(room_id=room_id, epoch=facts.live.epoch)
                removed = await self._end(facts, Desired.REMOVING, event)
            if removed is not None:
                log.info("room.removing", room=room_id)
                return removed

    async def _end(self, facts: RoomFacts, desired: Desired, event: Event) -> RoomFacts | None:
        """Write the wish to end; None if the room changed meanwhile."""
        if facts.live is None:
            return None
        live = facts.live.model_copy(update={"status": desired})
        try:
            with self._deeds.telling(event) as call:
                live = live.model_copy(update={"call": call})
                revision = await execute.rewrite(self._etcd, facts, live)
        except ConflictError:
            return None
        except AmbiguousError:
            return await self._ended_after_all(facts, live)
        return replace(facts, live=live, live_revision=revision)

    async def _ended_after_all(self, facts: RoomFacts, live: LiveMeta) -> RoomFacts | None:
        """The answer was lost; what was asked for may even be over by now."""
        found = await self._find(facts.room_id)
        if found is None:
            return replace(facts, live=live)
        landed = found.live is not None and found.live.status is live.status
        return found if landed else None

    async def _remove_idle(self, facts: RoomFacts) -> RoomFacts | None:
        mixers = await self._ended_on(facts)
        try:
            with self._deeds.telling(RoomDeleted(room_id=facts.room_id)) as call:
                await execute.finish_remove(self._etcd, facts, mixers, call)
        except ConflictError:
            return None
        except AmbiguousError:
            return await self._removed_after_all(facts)
        return facts

    async def _ended_on(self, facts: RoomFacts) -> list[ModuleId]:
        """Mixers with an after-life of the room: known to whoever knows ``meta`` of that stop."""
        if self._view.revision >= facts.meta_revision:
            return self._view.ended_on(facts.room_id)
        found = (keys.parse_ended(kv.key) for kv in (await self._etcd.range(keys.ENDED)).kvs)
        return [mixer for mixer, room_id in filter(None, found) if room_id == facts.room_id]

    async def _removed_after_all(self, facts: RoomFacts) -> RoomFacts | None:
        return facts if await self._find(facts.room_id) is None else None


def _assigned(live: LiveMeta) -> RoomAssigned:
    return RoomAssigned(
        room_id=live.room_id,
        epoch=live.epoch,
        janus=live.janus_id,
        mixer=live.mixer_id,
        reasons=live.placed,
    )

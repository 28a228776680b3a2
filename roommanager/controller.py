"""Reconcile one room: look at the copy, decide, act.

Every change of a room's keys, of its modules' slots and marks, of a verdict on its modules, and
``housekeeping``, put the room into the queue; any number of room managers may do so at once,
since every write is guarded.
"""

import random
from collections.abc import Iterable

import anyio
import structlog
from pydantic import ValidationError

from pkg import controller, keys
from pkg.etcd.api import Etcd
from pkg.events.records import RoomDeleted, RoomStarted, RoomStopped
from pkg.model import Ended, Kind, LiveMeta, RoomId, Slot
from pkg.workqueue import WorkQueue
from roommanager import execute
from roommanager.allocator import Allocator, NoCapacityError
from roommanager.facts import RoomFacts
from roommanager.fleet import ModuleKey
from roommanager.mover import Mover, WaitError
from roommanager.plan import (
    Action,
    DropPrevious,
    FinishRemove,
    FinishStop,
    MarkOnAir,
    MoveMixer,
    Reassign,
    look_again_seconds,
    plan,
)
from roommanager.surroundings import TRANSIT_SECONDS, Surroundings
from roommanager.view import EVERYTHING, View
from roommanager.vigil import Vigil
from roommanager.wishes import Sources

log = structlog.get_logger()
WORKERS = 8
SHOWN_SECONDS = 0.25  # the copy is given so long to show our own write, lest it be tried twice
LEAST_SECONDS = 0.001  # of a wait that is left over by rounding the clock may show nothing
NOWHERE_SECONDS = 5.0  # nobody can take the room; looked at sooner if the fleet changes


class RoomController:
    def __init__(
        self,
        etcd: Etcd,
        view: View,
        vigil: Vigil,
        allocator: Allocator,
        sources: Sources,
        rng: random.Random,
    ) -> None:
        self._etcd = etcd
        self._view = view
        self._vigil = vigil
        self._sources = sources
        self._deeds = sources.deeds
        self._mover = Mover(etcd, view, vigil, allocator, sources.deeds)
        self._around = Surroundings(view, vigil, sources.now)
        self.queue: WorkQueue[str] = WorkQueue(rng)
        self._slot_holders: dict[str, RoomId] = {}
        self._nowhere: set[RoomId] = set()  # nobody could take them
        view.informer.on_change(self._notice)
        vigil.on_verdict(self._enqueue_rooms)

    async def run(self) -> None:
        await self._view.informer.synced.wait()
        await controller.run(self.queue, self.reconcile, workers=WORKERS)

    async def reconcile(self, key: str) -> float | None:
        facts = self._view.room(RoomId(key))
        live = facts.live
        self._settle(facts)
        if live is None:
            self._around.forget(facts.room_id)
            self._nowhere.discard(facts.room_id)
            return None
        for kind, why in facts.unreadable.items():
            log.error("report.undecodable", room=facts.room_id, kind=kind.value, error=why)
        around = self._around.of(facts, live)
        self._pass_turn(live)
        waits = [look_again_seconds(facts, around), *self._deadlines(live)]
        for action in plan(facts, around):
            wait = await self._try(facts, live, action)
            if wait is None:
                return None  # our own write has come back through the copy
            waits.append(wait)
        return _soonest(waits)

    def _settle(self, facts: RoomFacts) -> None:
        """What the copy shows has landed, and is told before what comes next."""
        if facts.meta is not None:
            self._deeds.landed(facts.meta.call)
        if facts.live is not None:
            self._deeds.landed(facts.live.call)

    async def _try(self, facts: RoomFacts, live: LiveMeta, action: Action) -> float | None:
        """None if it is done, else when to try again: seconds."""
        try:
            revision = await self._execute(facts, live, action)
        except WaitError as wait:
            return wait.seconds
        except NoCapacityError as error:
            if live.room_id not in self._nowhere:
                log.warning("room.nowhere_to_go", room=live.room_id, error=str(error))
            self._nowhere.add(live.room_id)
            return NOWHERE_SECONDS
        self._nowhere.discard(live.room_id)
        with anyio.move_on_after(SHOWN_SECONDS):
            await self._view.informer.reached(EVERYTHING, revision)
        return None

    async def _execute(self, facts: RoomFacts, live: LiveMeta, action: Action) -> int:
        """Answers the revision it was written at."""
        match action:
            case MarkOnAir():
                return await self._mark_on_air(facts, live)
            case FinishStop() | FinishRemove():
                return await self._finish(facts, live, action)
            case Reassign():
                return await self._mover.reassign(facts, live, action)
            case MoveMixer():
                return await self._mover.move(facts, live, action)
            case DropPrevious():
                return await self._mover.drop_previous(facts, live, action)

    async def _finish(
        self, facts: RoomFacts, live: LiveMeta, action: FinishStop | FinishRemove
    ) -> int:
        room_id, left = facts.room_id, action.left
        if isinstance(action, FinishStop):
            ended = self._ended(live) if action.keep_playlist else None
            with self._deeds.telling(RoomStopped(room_id=room_id, epoch=live.epoch)) as call:
                revision = await execute.finish_stop(self._etcd, facts, ended, call, left)
            log.info("room.stopped", room=room_id)
            return revision
        mixers = self._view.ended_on(room_id)
        with self._deeds.telling(RoomDeleted(room_id=room_id)) as call:
            revision = await execute.finish_remove(self._etcd, facts, mixers, call, left)
        log.info("room.removed", room=room_id)
        return revision

    async def _mark_on_air(self, facts: RoomFacts, live: LiveMeta) -> int:
        event = RoomStarted(room_id=facts.room_id, epoch=live.epoch)
        with self._deeds.telling(event) as call:
            after = live.model_copy(update={"on_air_at": self._sources.now(), "call": call})
            revision = await execute.rewrite(self._etcd, facts, after)
        log.info("room.on_air", room=facts.room_id, epoch=live.epoch)
        return revision

    def _ended(self, live: LiveMeta) -> Ended | None:
        """Where the last playlist is; None if its mixer is not there to serve it."""
        mixer = self._view.fleet.get(Kind.MIXER, live.mixer_id)
        if mixer is None or mixer.heartbeat is None:
            return None
        return Ended(
            room_id=live.room_id,
            mixer_id=live.mixer_id,
            epoch=live.mixer_epoch,
            nonce=live.nonce,
            origin=mixer.heartbeat.endpoints.origin or "",
            seams=live.seams,
        )

    def displace(self, room_id: RoomId, kind: Kind, why: str) -> None:
        """``mending`` found that a half runs where no place is left for it: it must move."""
        live = self._view.live(room_id)
        if live is not None:
            self._around.displace(room_id, kind, live.half_epoch(kind), why)
            self.queue.add(room_id)

    # -- when to look ----------------------------------------------------------------------

    def _pass_turn(self, live: LiveMeta) -> None:
        """On a draining mixer, what happens to one room decides when the next one leaves."""
        mixers = {live.mixer_id} | ({live.previous.mixer_id} if live.previous else set())
        for mixer_id in mixers:
            following = self._around.next_to_leave(mixer_id)
            if following is not None and following != live.room_id:
                self.queue.add(following)

    def _deadlines(self, live: LiveMeta) -> list[float | None]:
        """When time alone brings the room, or one that waits for it, another answer."""
        transit = TRANSIT_SECONDS if live.previous is not None else None
        return [transit, self._around.deadline_seconds(Kind.JANUS, live.janus_id)]

    def _notice(self, key: str) -> None:
        parsed = keys.parse_room(key)
        if parsed is not None:
            self.queue.add(parsed[0])
            return
        if key == EVERYTHING:
            self._enqueue_all()
            return
        module = keys.parse_module(key)
        if module is None:
            return
        kind, module_id, rest = module
        if rest.startswith("slots/"):
            self._notice_slot(key)
        else:
            self._enqueue_nowhere()
        if rest == "mark":
            self._enqueue_rooms((kind, module_id))

    def _enqueue_all(self) -> None:
        """The copy is whole, again: nobody waits out a backoff that an outage brought on."""
        for room_id in self._view.rooms():
            self.queue.add(room_id)

    def _enqueue_rooms(self, module: ModuleKey) -> None:
        """Every room that holds a place there, or should."""
        for room_id in sorted(self._vigil.rooms(module)):
            self.queue.add(room_id)

    def _enqueue_nowhere(self) -> None:
        """The fleet has changed: perhaps somebody can take them now."""
        for room_id in sorted(self._nowhere):
            self.queue.add(room_id)

    def _notice_slot(self, key: str) -> None:
        """A freed slot concerns the room that held it, whose id only the old value told."""
        kv = self._view.informer.get(key)
        if kv is None:
            self._enqueue_nowhere()
            holder = self._slot_holders.pop(key, None)
            if holder is not None:
                self.queue.add(holder)
            return
        try:
            self._slot_holders[key] = Slot.decode(kv.value).room_id
        except ValidationError as error:
            log.error("slot.undecodable", key=key, errors=error.error_count())


def _soonest(waits: Iterable[float | None]) -> float | None:
    """When to look again; None if never.

    >>> _soonest([None, 7e-15, 3.0]), _soonest([None, 0.0])
    (0.001, None)
    """
    soonest = min((wait for wait in waits if wait), default=None)
    return None if soonest is None else max(soonest, LEAST_SECONDS)

"""Gives rooms to other modules: chooses the place, minds the pace, writes it, says so.

Each move is one guarded transaction. Any number of room managers may try the same at once: one
wins, and the others look again.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import anyio
import structlog

from pkg.errors import TransientError
from pkg.etcd.api import Etcd
from pkg.events.records import RoomMoved
from pkg.model import Endpoints, Kind, LiveMeta, ModuleId
from roommanager import execute
from roommanager.allocator import Allocator, BusyError, NoCapacityError, Place
from roommanager.deeds import Telling
from roommanager.facts import RoomFacts
from roommanager.moves import moved, reassigned
from roommanager.pace import Pace
from roommanager.plan import DropPrevious, MoveMixer, Reassign
from roommanager.view import View
from roommanager.vigil import Vigil

log = structlog.get_logger()


class WaitError(TransientError):
    """The move must wait; it is worth another look in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"look again in {seconds:.3f} s")
        self.seconds = seconds


class Mover:
    def __init__(
        self,
        etcd: Etcd,
        view: View,
        vigil: Vigil,
        allocator: Allocator,
        deeds: Telling,
    ) -> None:
        self._etcd = etcd
        self._view = view
        self._vigil = vigil
        self._allocator = allocator
        self._deeds = deeds
        self._pace = Pace()

    async def reassign(self, facts: RoomFacts, live: LiveMeta, action: Reassign) -> int:
        """Answers the write's revision.

        Raises NoCapacityError if nobody can take the half, WaitError, ConflictError.
        """
        place = self._choose(action.kind, live)
        self._mind_pace(action.kind)
        lost = self._place_for_lost(facts, live) if action.new_mixer_epoch else None
        after = reassigned(facts, live, place, action)
        places = {place.kind: place}
        if lost is not None:
            after = after.model_copy(update={"mixer_slot": lost.slot})
            places[lost.kind] = lost
        with self._telling(live, after, place, action.why) as call:
            after = after.model_copy(update={"call": call})
            async with self._allocator.claiming(places) as claim:
                revision = await execute.reassign(self._etcd, facts, after, place, action, lost)
                claim.revision = revision
        return revision

    async def move(self, facts: RoomFacts, live: LiveMeta, action: MoveMixer) -> int:
        """Raises as ``reassign`` does."""
        place = self._choose(Kind.MIXER, live)
        self._mind_pace(Kind.MIXER)
        after = moved(facts, live, place, action, self._endpoints(facts, live))
        with self._telling(live, after, place, action.why) as call:
            after = after.model_copy(update={"call": call})
            async with self._allocator.claiming({place.kind: place}) as claim:
                claim.revision = revision = await execute.move(self._etcd, facts, after, place)
        return revision

    async def drop_previous(self, facts: RoomFacts, live: LiveMeta, action: DropPrevious) -> int:
        after = live.model_copy(update={"previous": None})
        revision = await execute.drop_previous(self._etcd, facts, after, action.left)
        old = live.previous.mixer_id if live.previous else None
        log.info("room.dropped_previous", room=live.room_id, mixer=old)
        return revision

    def _choose(self, kind: Kind, live: LiveMeta) -> Place:
        """Never where it is; where it just was only if nobody else can."""
        self._allocator.shown(self._view.revision)
        here = {live.module(kind)}
        if kind is Kind.MIXER and live.previous is not None:
            try:
                return self._other(kind, here | {live.previous.mixer_id})
            except NoCapacityError:
                pass
        return self._other(kind, here)

    def _other(self, kind: Kind, avoid: Collection[ModuleId]) -> Place:
        try:
            return self._allocator.choose_other(self._view.fleet, self._view.revision, kind, avoid)
        except BusyError:
            raise WaitError(0.1) from None

    def _place_for_lost(self, facts: RoomFacts, live: LiveMeta) -> Place | None:
        """On the same mixer, if another room has taken this one's place there: any that is free
        is as good (``mending``), and waiting for one would leave the room without a Janus."""
        module = self._view.fleet.get(Kind.MIXER, live.mixer_id)
        if module is None or facts.place(Kind.MIXER) or live.mixer_slot not in module.slots:
            return None
        free = next((n for n in range(module.capacity or 0) if n not in module.slots), None)
        if free is None:
            why = "another room has taken this one's place there, and no other is free"
            raise NoCapacityError({Kind.MIXER: {live.mixer_id: why}})
        beat, mark = module.heartbeat_revision, module.mark_revision
        return Place(Kind.MIXER, live.mixer_id, free, beat, mark, "its own place was lost")

    def _mind_pace(self, kind: Kind) -> None:
        now = anyio.current_time()
        seconds = self._pace.take(now, careful=self._vigil.is_careful(kind))
        if seconds > 0:
            raise WaitError(seconds)

    def _endpoints(self, facts: RoomFacts, live: LiveMeta) -> Endpoints:
        """Where the room's present mixer is reached."""
        mixer = facts.mixer
        if mixer is not None and mixer.epoch == live.mixer_epoch:
            return mixer.endpoints
        found = self._view.fleet.get(Kind.MIXER, live.mixer_id)
        return found.heartbeat.endpoints if found and found.heartbeat else Endpoints()

    @contextmanager
    def _telling(self, live: LiveMeta, after: LiveMeta, place: Place, why: str) -> Iterator[str]:
        """Yields the call to be written into livemeta (``deeds``)."""
        kind, old, new = place.kind, live.module(place.kind), place.module_id
        event = RoomMoved(
            room_id=live.room_id, epoch=after.epoch, kind=kind, old=old, new=new, why=why
        )
        with self._deeds.telling(event) as call:
            yield call
        fields = {"from": old, "to": new}
        log.warning("room.moved", room=live.room_id, kind=kind.value, **fields, why=why)

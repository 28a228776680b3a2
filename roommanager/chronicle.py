"""Tells that rooms are degraded, and that they are well again: what nobody's transaction says.

A status is derived, so every room manager sees it change; the one that keeps house tells it. A
change while no one is elected is not told.
"""

from typing import NoReturn

import anyio

from pkg import keys
from pkg.election import Body, Term
from pkg.events.api import SILENT, Events
from pkg.events.records import RoomDegraded, RoomRecovered
from pkg.informer import UndecodableError
from pkg.lifecycle import background
from pkg.model import RoomId
from roommanager.facts import RoomFacts
from roommanager.prospects import Judged
from roommanager.status import RoomStatus, derive, reason
from roommanager.view import EVERYTHING, View

PACE_SECONDS = 0.25  # what is over sooner may go untold


class Chronicle:
    def __init__(self, view: View, judged: Judged, events: Events) -> None:
        self._view = view
        self._judged = judged
        self._events = events
        self._known: dict[RoomId, RoomStatus] = {}
        self._changed: set[RoomId] | None = None  # None: somebody else tells
        self._news = anyio.Event()
        view.informer.on_change(self._note)

    def beside(self, lead: Body) -> Body:
        """Follow while ``lead`` does whatever else the elected one has to do."""

        async def both(term: Term) -> None:
            async with background(self.follow):
                await lead(term)

        return lead if self._events is SILENT else both

    async def follow(self) -> NoReturn:
        """For as long as this process is elected; what is so already others have told."""
        self._known.clear()
        self._changed = set(self._view.rooms())
        try:
            while True:
                self._news = news = anyio.Event()
                changed, self._changed = self._changed, set()
                for room_id in sorted(changed):
                    self._look(room_id)
                await news.wait()
                await anyio.sleep(PACE_SECONDS)
        finally:
            self._changed = None

    def _note(self, key: str) -> None:
        if self._changed is None:
            return
        room, module = keys.parse_room(key), keys.parse_module(key)
        rooms: set[RoomId] = set()
        if room is not None:
            rooms = {room[0]}
        elif key == EVERYTHING:
            rooms = {*self._view.rooms(), *self._known}
        elif module is not None and module[2] == "heartbeat":
            found = self._view.fleet.get(module[0], module[1])
            rooms = found.rooms if found else set()
        if rooms:
            self._changed |= rooms
            self._news.set()

    def _look(self, room_id: RoomId) -> None:
        try:
            facts = self._view.room(room_id)
        except UndecodableError:
            return
        before = self._known.pop(room_id, None)
        if facts.meta is not None:
            self._known[room_id] = status = derive(facts)
            self._tell(facts, before, status)

    def _tell(self, facts: RoomFacts, before: RoomStatus | None, status: RoomStatus) -> None:
        if facts.live is None:
            return
        room_id, epoch = facts.room_id, facts.live.epoch
        match (before, status):
            case (RoomStatus.ONAIR, RoomStatus.DEGRADED):
                why = reason(facts, self._view.fleet, self._judged)
                self._events.tell(RoomDegraded(room_id=room_id, epoch=epoch, reason=why))
            case (RoomStatus.DEGRADED, RoomStatus.ONAIR):
                self._events.tell(RoomRecovered(room_id=room_id, epoch=epoch))
            case _:
                pass

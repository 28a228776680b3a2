"""What listeners get of a room right now: playlists that go on over every move, and segments.

A replica serves one epoch's playlist at a time and never an older one than before: while a mixer
is replaced make-before-break the previous one's, until the new one lists enough to play on; after
a failover the last one served, until the new mixer has a segment. Fetched once for all who ask
within a third of a second; whoever asks while an origin is slow gets the last one.
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx

from pkg.model import RoomId
from roommanager.ahead import Wish
from roommanager.facts import RoomFacts
from roommanager.flights import Flights
from roommanager.origins import Origins
from roommanager.playlist import Media, epoch_of, joined, read
from roommanager.segments import Segments
from roommanager.sources import Air, NotOnAirError, NotYetError, Source, on_air
from roommanager.view import View

PLAYLIST_SECONDS = 0.3
PATIENCE_SECONDS = 0.5  # then a listener gets the last playlist; the fetch goes on
HOLD_SECONDS = 2.0  # who has no last playlist waits for the new mixer: one segment's length
LOOK_SECONDS = 0.25
RIVAL_SECONDS = 1.0  # of two mixers, one that hangs must not keep the other's playlist from us
IDLE_SECONDS = 15.0  # a last playlist that nobody asked for in so long is no longer the last
ENOUGH_SEGMENTS = 3  # players begin three segments before the end (RFC 8216 §6.3.3)
MAX_PLAYLISTS = 2000


@dataclass(slots=True)
class _Shown:
    """What was served last of a room. ``looked_at``: when we last tried for a newer one.

    ``wishes``: the listed segments that are fetched ahead; those that are had may be missing.
    """

    source: Source
    media: Media
    target: int
    text: str
    looked_at: float
    asked_at: float
    wishes: tuple[Wish, ...] = ()


class Hls:
    def __init__(self, view: View, client: httpx.AsyncClient) -> None:
        self._view = view
        self._origins = Origins(client)
        self._segments = Segments(self._origins)
        self._flights: Flights[_Shown] = Flights()
        self._shown: OrderedDict[RoomId, _Shown] = OrderedDict()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Without it nothing is fetched: everybody is asked to come again."""
        async with self._segments.running(), self._flights.running():
            yield

    async def playlist(self, facts: RoomFacts) -> tuple[str, Air]:
        """The room's playlist without our links. Raises NotOnAirError, NotYetError."""
        air, now = on_air(self._view, facts), anyio.current_time()
        shown = self._lately(air)
        if shown is not None:
            shown.asked_at = now
            if now - shown.looked_at < PLAYLIST_SECONDS:
                return shown.text, air
        flight = self._flights.join((air.room_id, air.nonce), lambda: self._refresh(air))
        if shown is None:
            return (await flight.outcome()).text, air
        with anyio.move_on_after(max(0.0, flight.began + PATIENCE_SECONDS - now)):
            shown = await flight.outcome()
        return shown.text, air

    async def segment(self, facts: RoomFacts, name: str) -> bytes:
        """A segment's encrypted bytes. Raises NotOnAirError if it is unknown or over."""
        air, epoch = on_air(self._view, facts), epoch_of(name)
        kept = self._segments.kept(air.room_id, air.nonce, name)
        if kept is not None:
            return kept
        if epoch is None:
            raise NotOnAirError("no such segment")
        away: NotYetError | None = None
        for source in air.having(epoch):
            try:
                return await self._segments.fetch(source, name)
            except NotYetError as error:
                away = error
            except NotOnAirError:
                continue
        if away is not None:
            raise away
        if air.present is None or epoch > air.epoch:
            raise NotYetError("its mixer has not taken the room yet, or this copy of etcd lags")
        raise NotOnAirError("no such segment")

    # -- fetching --------------------------------------------------------------------------

    async def _refresh(self, air: Air) -> _Shown:
        cold = air.heard and self._lately(air) is None
        found = await (self._hold(air) if cold else self._look(air))
        shown = self._lately(air)
        if found is not None:
            return self._show(air, *found)
        if shown is not None:  # the same time on air: what was served before is served again
            shown.looked_at = anyio.current_time()
            return shown
        if air.ended:
            raise NotOnAirError(f"room {air.room_id} is not on air")
        raise NotYetError("the first segment is not there yet")

    async def _hold(self, air: Air) -> tuple[Source, Media] | None:
        """Wait for a mixer to have something: woken by what etcd tells, or by looking again."""
        with anyio.move_on_after(HOLD_SECONDS):
            while (found := await self._look(air)) is None and not air.ended:
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._view.changed(air.room_id)
                now = on_air(self._view, self._view.room(air.room_id))
                if now.nonce != air.nonce:
                    return None
                air = now
            return found
        return None

    async def _look(self, air: Air) -> tuple[Source, Media] | None:
        """What is to be served now, if an origin has it."""
        shown = self._of(air)
        floor = shown.source.epoch if shown is not None else 0
        sources = air.since(floor)
        if air.ended and self._lately(air) is not None:  # it ends with what was heard last
            sources = [source for source in sources if source.epoch == floor]
        found = await self._fetch_all(sources)
        if not found:
            return None
        newest, oldest = found[0], found[-1]
        return newest if len(newest[1].names) >= ENOUGH_SEGMENTS else oldest

    async def _fetch_all(self, sources: list[Source]) -> list[tuple[Source, Media]]:
        """Of each that answers, in the same order."""
        found: dict[Source, Media] = {}

        async def fetch(source: Source) -> None:
            media = await self._fetch(source)
            if media is not None:
                found[source] = media

        with anyio.move_on_after(RIVAL_SECONDS if len(sources) > 1 else None):
            async with anyio.create_task_group() as tasks:
                for source in sources:
                    tasks.start_soon(fetch, source)
        return [(source, found[source]) for source in sources if source in found]

    async def _fetch(self, source: Source) -> Media | None:
        try:
            found = await self._origins.get(source, "live.m3u8")
        except NotYetError:
            return None
        return read(found.decode(errors="replace"), source.epoch) if found is not None else None

    # -- remembering -----------------------------------------------------------------------

    def _of(self, air: Air) -> _Shown | None:
        """What was last served of this time on air, however long ago."""
        shown = self._shown.get(air.room_id)
        return shown if shown is not None and shown.source.nonce == air.nonce else None

    def _lately(self, air: Air) -> _Shown | None:
        """The same, if somebody listens to it: others may have heard later ones elsewhere."""
        shown = self._of(air)
        if shown is None or anyio.current_time() - shown.asked_at > IDLE_SECONDS:
            return None
        return shown

    def _show(self, air: Air, source: Source, media: Media) -> _Shown:
        before, lately, now = self._of(air), self._lately(air), anyio.current_time()
        target = max(media.target, before.target if before else 0)
        text = joined(media.text, source.seams, target)
        wishes = _wishes(source, media, lately)
        shown = _Shown(source, media, target, text, now, now, wishes)
        self._shown[source.room_id] = shown
        self._shown.move_to_end(source.room_id)
        while len(self._shown) > MAX_PLAYLISTS:
            self._shown.popitem(last=False)
        self._segments.prefetch(wishes)
        return shown


def _wishes(source: Source, media: Media, lately: _Shown | None) -> tuple[Wish, ...]:
    """At first what players begin with, then what is newly listed, and what failed so far."""
    known = lately.media.names if lately else media.names[:-ENOUGH_SEGMENTS]
    open_still = [wish for wish in lately.wishes if wish.is_open] if lately else []
    return (*open_still, *(Wish(source, name) for name in media.names if name not in known))


def is_nonce(text: str) -> bool:
    """
    >>> is_nonce("0" * 32), is_nonce("x"), is_nonce("0" * 32 + chr(10))
    (True, False, False)
    """
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None

"""Where a room's playlist and segments are right now, and fetching them from the mixers' origins.

The address that listeners use never changes; this resolves it through the current epoch. The
playlist is fetched once for all who ask within a third of a second, segments are immutable and
kept in a bounded cache. If an origin does not answer, the last playlist served is served again.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import anyio
import httpx
import structlog

from pkg.errors import OnairError
from pkg.model import Desired, Epoch, Kind, LiveMeta, RoomId
from roommanager.facts import RoomFacts
from roommanager.flights import Flights
from roommanager.playlist import epoch_of, has_segments
from roommanager.view import View

log = structlog.get_logger()

PLAYLIST_SECONDS = 0.3
CACHE_BYTES = 64 * 1024 * 1024
MAX_PLAYLISTS = 2000
ORIGIN_TIMEOUT = httpx.Timeout(3.0, connect=1.0)


class NotOnAirError(OnairError):
    """There is nothing to play under this address."""


class NotYetError(OnairError):
    """The room is starting, or its origin does not answer: ask again in a second."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one epoch of a room can be fetched."""

    room_id: RoomId
    epoch: Epoch
    origin: str
    nonce: str
    ended: bool = False

    @property
    def url(self) -> str:
        return f"{self.origin}/{self.room_id}/{self.epoch}"


def resolve(view: View, facts: RoomFacts) -> Source:
    """The source listeners should hear now. Raises NotOnAirError, NotYetError."""
    live = facts.live
    if live is not None and live.status is Desired.REMOVING:
        raise NotOnAirError(f"room {facts.room_id} is being removed")
    if live is not None:
        return _live(view, facts, live)
    ended = view.ended(facts.room_id)
    if ended is None:
        raise NotOnAirError(f"room {facts.room_id} is not on air")
    return Source(facts.room_id, ended.epoch, ended.origin, ended.nonce, ended=True)


def _live(view: View, facts: RoomFacts, live: LiveMeta) -> Source:
    mixer = facts.mixer
    stopping = live.status is Desired.STOPPING
    if mixer is not None and mixer.epoch == live.mixer_epoch and mixer.endpoints.origin:
        origin = mixer.endpoints.origin
    else:
        module = view.fleet.get(Kind.MIXER, live.mixer_id)
        origin = (module.heartbeat.endpoints.origin if module and module.heartbeat else None) or ""
        if not stopping or not origin:
            raise NotYetError("the mixer has not taken the room yet")
    return Source(facts.room_id, live.mixer_epoch, origin, live.nonce, ended=stopping)


@dataclass(slots=True)
class _Playlist:
    text: str
    source: Source
    fetched_at: float


class Hls:
    def __init__(self, view: View, client: httpx.AsyncClient) -> None:
        self._view = view
        self._client = client
        self._playlists: OrderedDict[RoomId, _Playlist] = OrderedDict()
        self._playlist_flights: Flights[_Playlist] = Flights()
        self._segment_flights: Flights[bytes] = Flights()
        self._segments: OrderedDict[tuple[RoomId, str], bytes] = OrderedDict()
        self._segment_bytes = 0

    async def playlist(self, facts: RoomFacts) -> tuple[str, Source]:
        """FFmpeg's playlist of the room's present epoch. Raises NotOnAirError, NotYetError."""
        source = resolve(self._view, facts)
        known = self._fresh(source)
        if known is None:
            known = await self._playlist_flights.once(
                (source.room_id, source.epoch), lambda: self._fetch_playlist(source)
            )
        return known.text, source

    def _fresh(self, source: Source) -> _Playlist | None:
        known = self._playlists.get(source.room_id)
        if known is None or known.source.epoch != source.epoch:
            return None
        age = anyio.current_time() - known.fetched_at
        return known if age < PLAYLIST_SECONDS else None

    async def _fetch_playlist(self, source: Source) -> _Playlist:
        try:
            response = await self._client.get(f"{source.url}/live.m3u8")
            text = response.text if response.is_success else ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("origin.failed", room=source.room_id, error=type(error).__name__)
            text = ""
        if has_segments(text):
            return self._keep(source, text)
        known = self._playlists.get(source.room_id)
        if known is not None and known.source.nonce == source.nonce:
            return known  # the same time on air: what was served before is served again
        if source.ended:
            raise NotOnAirError(f"room {source.room_id} is not on air")
        raise NotYetError("the first segment is not there yet")

    def _keep(self, source: Source, text: str) -> _Playlist:
        known = _Playlist(text, source, anyio.current_time())
        self._playlists[source.room_id] = known
        self._playlists.move_to_end(source.room_id)
        while len(self._playlists) > MAX_PLAYLISTS:
            self._playlists.popitem(last=False)
        return known

    async def segment(self, facts: RoomFacts, name: str) -> bytes:
        """A segment's encrypted bytes. Raises NotOnAirError if it is unknown or over."""
        source = resolve(self._view, facts)
        epoch = epoch_of(name)
        if epoch != source.epoch:
            raise NotOnAirError("no such segment")
        cached = self._segments.get((facts.room_id, name))
        if cached is not None:
            return cached
        return await self._segment_flights.once(
            (source.room_id, name), lambda: self._fetch_segment(source, name)
        )

    async def _fetch_segment(self, source: Source, name: str) -> bytes:
        try:
            response = await self._client.get(f"{source.url}/{name}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotYetError(f"the origin does not answer ({type(error).__name__})") from None
        if not response.is_success:
            raise NotOnAirError("no such segment")
        body = response.content
        self._segments[source.room_id, name] = body
        self._segment_bytes += len(body)
        while self._segment_bytes > CACHE_BYTES:
            _, dropped = self._segments.popitem(last=False)
            self._segment_bytes -= len(dropped)
        return body


def is_nonce(text: str) -> bool:
    """
    >>> is_nonce("0" * 32), is_nonce("x"), is_nonce("0" * 32 + chr(10))
    (True, False, False)
    """
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None

"""A listener's player that behaves as hls.js and keeps a book of all it met.

::

    async with playing(client, [hls_url, …]) as player:
        await player.started()             # something is in the buffer
        moment = player.now()              # before the fault
        …                                  # the fault
        await player.hears_on(moment)      # a segment that began after it is fetched and plays
        report = player.report(moment)
        assert not report.wrong and report.reloads == 0 and report.missing == 0

``report.silence``: seconds in which the buffer was empty. ``report.missing``: seconds of wall-clock
time, by PROGRAM-DATE-TIME, that no served playlist held (``missing_segments``: in segment
lengths); right only once audio has come back. ``report.reloads``: how often hls.js by its defaults
would have given up for good (playlist failed 3 times in a row, a segment 7 times, any 4xx, an ended
playlist): the player itself goes on, as a page that calls ``startLoad``. ``report.unfetchable``:
segments listed but never got. ``report.wrong``: order and content violations (I12), in words.

The judging is in ``playlist``, ``order``, ``coverage`` and ``playback`` (pure); here are the loops.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from chaos.coverage import Coverage
from chaos.fetcher import Answer, Fetcher
from chaos.order import OrderBook
from chaos.playback import (
    FRAGMENT_RETRIES,
    PLAYLIST_RETRIES,
    Buffer,
    next_entry,
    reload_seconds,
)
from chaos.playlist import Entry, Key, NoPlaylistError, Served, parse

KEPT_SEGMENTS = 100  # decrypted ones, for ``sound``; 200 s of 2 s segments
KEPT_WORDS = 1000
POLL_SECONDS = 0.05
TS_SYNC = 0x47  # each packet of a transport stream begins with it


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on the loop's clock and on the wall's."""

    loop: float
    wall: float


@dataclass(frozen=True, slots=True)
class Report:
    """Since one moment; see the module's docstring."""

    silence: float
    missing: float
    missing_segments: float
    reloads: int
    unfetchable: int
    wrong: list[str]
    failures: list[str]


@dataclass(slots=True)
class Book:
    """Everything noted, each with the loop's time; bounded."""

    wrong: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=KEPT_WORDS))
    failures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=KEPT_WORDS))
    fatal: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=KEPT_WORDS))
    unfetchable: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=KEPT_WORDS))
    loads: int = 0  # playlists got


class Player:
    """``urls``: the room's playlist, one address a room manager that can serve it."""

    def __init__(self, client: httpx.AsyncClient, urls: Sequence[str]) -> None:
        self.book = Book()
        self.coverage = Coverage()
        self.buffer = Buffer()
        self.served: Served | None = None
        self.last: Entry | None = None  # newest fetched
        self.segments: deque[tuple[Entry, bytes]] = deque(maxlen=KEPT_SEGMENTS)
        self._fetcher = Fetcher(client, urls)
        self._order = OrderBook()
        self._keys: dict[str, bytes] = {}
        self._lost: set[int] = set()
        self._news = anyio.Event()

    # -- asked by tests --------------------------------------------------------------------

    @staticmethod
    def now() -> Moment:
        return Moment(anyio.current_time(), datetime.now(UTC).timestamp())

    def report(self, since: Moment | None = None) -> Report:
        begin = since or Moment(0.0, 0.0)
        missing = self.coverage.missing(begin.wall)
        target = self.served.target if self.served else 2.0
        return Report(
            silence=self.buffer.silence(anyio.current_time(), begin.loop),
            missing=missing,
            missing_segments=missing / target,
            reloads=_count(self.book.fatal, begin),
            unfetchable=_count(self.book.unfetchable, begin),
            wrong=[words for at, words in self.book.wrong if at >= begin.loop],
            failures=[words for at, words in self.book.failures if at >= begin.loop],
        )

    async def started(self, within: float = 20.0) -> None:
        """Raises TimeoutError."""
        await self._until(lambda: self.buffer.started, within)

    async def hears_on(self, moment: Moment, within: float = 60.0) -> None:
        """Until audio from after the moment plays or is buffered. Raises TimeoutError."""
        await self._until(lambda: self._hears_on(moment), within)

    def _hears_on(self, moment: Moment) -> bool:
        fresh = self.last is not None and self.last.at is not None and self.last.at > moment.wall
        return fresh and self.buffer.level(anyio.current_time()) > 0

    async def _until(self, fact: Callable[[], bool], within: float) -> None:
        with anyio.fail_after(within):
            while not fact():  # noqa: ASYNC110 - several loops change what is waited for
                await anyio.sleep(POLL_SECONDS)

    # -- playing ---------------------------------------------------------------------------

    async def play(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._load_playlists)
            tasks.start_soon(self._load_segments)

    async def _load_playlists(self) -> None:
        failures = 0
        while True:
            began = anyio.current_time()
            pause, failed = self._read(await self._fetcher.get())
            failures = failures + 1 if failed else 0
            if failed:
                pause = PLAYLIST_RETRIES.wait(failures)
                self._judge_failure(failures, failed)
            await anyio.sleep_until(began + pause)

    def _read(self, answer: Answer) -> tuple[float, Answer | None]:
        """Seconds until the next load; the answer itself if it was no playlist."""
        if not answer.good:
            return 0.0, answer
        try:
            served = parse(answer.body.decode(errors="replace"))
        except NoPlaylistError as error:
            self._note(self.book.wrong, f"playlist: {error}")
            return 0.0, answer
        changed = self.served is None or served.last != self.served.last
        self._take(served)
        return reload_seconds(served.target, changed=changed), None

    def _take(self, served: Served) -> None:
        self.book.loads += 1
        for words in self._order.read(served):
            self._note(self.book.wrong, words)
        for entry in served.entries:
            self.coverage.add(entry)
        if served.ended and not (self.served and self.served.ended):
            self._note(self.book.fatal, "the playlist ended")
        self.served = served
        self._lost = {number for number in self._lost if number >= served.first}
        news, self._news = self._news, anyio.Event()
        news.set()

    def _judge_failure(self, failures: int, answer: Answer) -> None:
        words = f"playlist: {answer.status or answer.words}"
        self._note(self.book.failures, words)
        fatal = PLAYLIST_RETRIES.is_fatal
        if fatal(failures, answer.status) and not (
            failures > 1 and fatal(failures - 1, answer.status)
        ):  # once for a row of failures
            self._note(self.book.fatal, words)

    async def _load_segments(self) -> None:
        while True:
            news = self._news
            entry = next_entry(self.served, self.last, self._lost) if self.served else None
            if entry is None:
                await news.wait()
            elif await self._load(entry):
                self.last = entry
                self.buffer.add(anyio.current_time(), entry.seconds)
            else:
                self._lost.add(entry.number)
                self._note(self.book.unfetchable, entry.name)

    async def _load(self, entry: Entry) -> bool:
        """Fetch, with hls.js's retries while it is still listed; False: given up."""
        failures = 0
        while True:
            answer = await self._segment(entry)
            if answer.good:
                self._keep(entry, answer.body)
                return True
            failures += 1
            words = f"{entry.name}: {answer.status or answer.words}"
            self._note(self.book.failures, words)
            if FRAGMENT_RETRIES.is_fatal(failures, answer.status):
                self._note(self.book.fatal, words)
                return False
            await anyio.sleep(FRAGMENT_RETRIES.wait(failures))

    async def _segment(self, entry: Entry) -> Answer:
        """Decrypted, if it is encrypted."""
        answer = await self._fetcher.get(entry.uri)
        if not answer.good or entry.key is None:
            return answer
        if entry.key.uri not in self._keys:
            got = await self._fetcher.get(entry.key.uri)
            if not got.good:
                return got
            self._keys[entry.key.uri] = got.body
        return Answer(answer.status, self._decrypted(entry, entry.key, answer.body))

    def _decrypted(self, entry: Entry, key: Key, body: bytes) -> bytes:
        try:
            return decrypt(body, self._keys[key.uri], key.iv)
        except ValueError:
            self._note(self.book.wrong, f"{entry.name} cannot be decrypted with its key")
            return b""

    def _keep(self, entry: Entry, body: bytes) -> None:
        if body[:1] != bytes([TS_SYNC]):
            self._note(self.book.wrong, f"{entry.name} is no transport stream")
        self.segments.append((entry, body))

    def _note(self, notes: deque[tuple[float, str]], words: str) -> None:
        notes.append((anyio.current_time(), words))


def _count(notes: deque[tuple[float, str]], since: Moment) -> int:
    return sum(at >= since.loop for at, _ in notes)


def decrypt(body: bytes, key: bytes, iv: bytes) -> bytes:
    """AES-128-CBC with PKCS7 padding (RFC 8216 §4.3.2.4). Raises ValueError for a wrong key."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain = decryptor.update(body) + decryptor.finalize()
    return unpadder.update(plain) + unpadder.finalize()


@asynccontextmanager
async def playing(client: httpx.AsyncClient, urls: Sequence[str]) -> AsyncGenerator[Player]:
    """Plays while the body runs; nothing is fetched after it."""
    player = Player(client, urls)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(player.play)
        yield player
        tasks.cancel_scope.cancel()

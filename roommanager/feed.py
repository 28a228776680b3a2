"""What changes, for those who watch (``live``): server-sent events out of the copy of etcd.

A reader has the *names* of what changed since it last looked, never a queue of events: one that
is slow costs no memory, and hears of ten changes as one. Nobody is told the same thing twice.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.lowlevel import checkpoint

from pkg import keys
from pkg.informer import UndecodableError
from pkg.model import RoomId
from roommanager import schemas
from roommanager.prospects import Judged
from roommanager.view import View

PACE_SECONDS = 0.25  # between what a reader is sent: four times a second at most
LOOK_SECONDS = 5.0  # what no key tells (a module in doubt, etcd away) is looked at so often
KEEP_ALIVE_SECONDS = 15.0
FLEET_SECONDS = 1.0
AT_ONCE = 50  # rooms put into words before others get a turn
MAX_READERS = 100
KEEP_ALIVE = b": keep-alive\n\n"


@dataclass(slots=True, eq=False)
class Reader:
    """``told``: a hash of what it last heard of each room; ``fleet``: of the modules."""

    changed: set[RoomId] = field(default_factory=set)
    news: anyio.Event = field(default_factory=anyio.Event)
    told: dict[RoomId, int] = field(default_factory=dict)
    fleet: int = 0
    stale: bool = False
    spoken_to: float = 0.0


class Feed:
    def __init__(self, view: View, judged: Judged, public_url: str) -> None:
        self._view = view
        self._judged = judged
        self._public_url = public_url
        self._readers: set[Reader] = set()
        self._over = False
        self._fleet: tuple[float, str] | None = None  # when it was put into words; for all readers
        view.informer.on_change(self._note)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At its end all streams end, so that the server need not wait for those who watch."""
        try:
            yield
        finally:
            self._over = True
            for reader in self._readers:
                reader.news.set()

    @property
    def is_full(self) -> bool:
        """Each reader costs work on every change."""
        return len(self._readers) >= MAX_READERS

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        joined = Reader()
        self._readers.add(joined)
        try:
            yield joined
        finally:
            self._readers.discard(joined)

    def _note(self, key: str) -> None:
        """Whose status may be another one now. A module's health is its rooms', too."""
        room, module = keys.parse_room(key), keys.parse_module(key)
        if module is not None:
            self._fleet = None
        if not self._readers:
            return
        rooms = {room[0]} if room else set()
        if module is not None and module[2] == "heartbeat":
            found = self._view.fleet.get(module[0], module[1])
            rooms = found.rooms if found else set()
        for reader in self._readers:
            reader.changed |= rooms
            if rooms or module:
                reader.news.set()

    async def frames(self, reader: Reader) -> AsyncGenerator[bytes]:
        """A snapshot, then what changes, until ``running`` ends."""
        yield await self._snapshot(reader)
        reader.spoken_to = anyio.current_time()
        while not self._over:
            await self._wait(reader)
            async with aclosing(self._changes(reader)) as changes:
                async for frame in changes:
                    yield frame
                    reader.spoken_to = anyio.current_time()
            if anyio.current_time() - reader.spoken_to >= KEEP_ALIVE_SECONDS:
                yield KEEP_ALIVE
                reader.spoken_to = anyio.current_time()

    async def _wait(self, reader: Reader) -> None:
        """For news, but not so soon after the last; what comes meanwhile comes along."""
        quiet = reader.spoken_to + KEEP_ALIVE_SECONDS - anyio.current_time()
        with anyio.move_on_after(min(LOOK_SECONDS, quiet)):
            await reader.news.wait()
        rest = reader.spoken_to + PACE_SECONDS - anyio.current_time()
        if rest > 0 and not self._over:
            await anyio.sleep(rest)
        reader.news = anyio.Event()

    async def _snapshot(self, reader: Reader) -> bytes:
        rooms = []
        for number, room_id in enumerate(self._view.rooms()):
            if number % AT_ONCE == 0:
                await checkpoint()
            found = self._room(room_id)
            if found is not None:
                reader.told[room_id] = hash(found)
                rooms.append(found)
        modules = self._modules()
        reader.fleet = hash(modules)
        # ``modules`` is an object with one member of that name, as the event's document is.
        return _frame("snapshot", '{"rooms":[' + ",".join(rooms) + "]," + modules[1:])

    async def _changes(self, reader: Reader) -> AsyncGenerator[bytes]:
        names, reader.changed = sorted(reader.changed), set()
        for at in range(0, len(names), AT_ONCE):
            await checkpoint()
            frames = [self._told(reader, room_id) for room_id in names[at : at + AT_ONCE]]
            if any(frames):
                yield b"".join(frames)
        frames = [*self._fleet_told(reader), *self._staleness(reader)]
        if frames:
            yield b"".join(frames)

    def _told(self, reader: Reader, room_id: RoomId) -> bytes:
        """Empty if there is nothing new of it."""
        found = self._room(room_id)
        if found is None:
            was = reader.told.pop(room_id, None)
            return _frame("roomGone", f'{{"roomId":"{room_id}"}}') if was is not None else b""
        if reader.told.get(room_id) == hash(found):
            return b""
        reader.told[room_id] = hash(found)
        return _frame("room", found)

    def _fleet_told(self, reader: Reader) -> Iterator[bytes]:
        found = self._modules()
        if reader.fleet != hash(found):
            reader.fleet = hash(found)
            yield _frame("modules", found)

    def _staleness(self, reader: Reader) -> Iterator[bytes]:
        """Whether what is shown may be old, since etcd does not answer."""
        stale = self._view.informer.broken_since is not None
        if stale != reader.stale:
            reader.stale = stale
            yield _frame("stale", '{"stale":true}' if stale else '{"stale":false}')

    def _room(self, room_id: RoomId) -> str | None:
        """JSON; None if there is no such room, or it cannot be read."""
        try:
            facts = self._view.room(room_id)
        except UndecodableError:
            return None
        if facts.meta is None:
            return None
        return _json(schemas.room(facts, self._public_url))

    def _modules(self) -> str:
        """JSON. What is held of a module may change without any key."""
        now = anyio.current_time()
        if self._fleet is None or now - self._fleet[0] >= FLEET_SECONDS:
            self._fleet = now, _json(schemas.modules(self._view.fleet, self._judged))
        return self._fleet[1]


def _json(answer: schemas.Answer) -> str:
    return answer.model_dump_json(by_alias=True, exclude_none=True)


def _frame(event: str, document: str) -> bytes:
    """As the HTML standard has it (9.2.6); JSON of ours has no line ends."""
    return f"event: {event}\ndata: {document}\n\n".encode()

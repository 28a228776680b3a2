"""A daemon's teller without its daemon: a spool in a folder, and a fake stream server."""

import itertools
import random
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx

from pkg.events.backlog import Segment
from pkg.events.records import RoomDegraded
from pkg.events.server import StreamServer
from pkg.events.spool import Spool, parse
from pkg.events.teller import Identity, Teller
from pkg.model import Epoch, RoomId
from tests.support.fake_streams import FakeStreams

URL = "http://streams/v1/stream"
_segments = itertools.count(1)


def event(number: int, room: str = "blue") -> RoomDegraded:
    """Events are told apart by their epoch."""
    return RoomDegraded(room_id=RoomId(room), epoch=Epoch(number), reason="x" * 20)


@dataclass
class House:
    """``folder`` is the present spool's; each ``kill`` gives it another."""

    folder: Path
    streams: FakeStreams = field(default_factory=FakeStreams)
    by: str = "mixer/m1"
    bound: int = 16 * 1024**2
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def segment(self) -> Segment:
        return Segment(1, f"{self.by}/{next(_segments):06d}")

    @asynccontextmanager
    async def telling(self, client: httpx.AsyncClient | None = None) -> AsyncGenerator[Teller]:
        """Ends as a daemon does that is asked to."""
        async with client or self.streams.client() as http:
            server, me = StreamServer(http, URL), Identity(self.by, lambda: "T", self.segment)
            teller = Teller(server, Spool(self.folder), me, self.rng, self.bound)
            async with teller.running():
                yield teller

    def kill(self) -> set[tuple[str, int]]:
        """What a process that dies now leaves is what is in its files: the next begins with a
        copy of these. Answers the events in them."""
        was, self.folder = self.folder, self.folder.with_name(self.folder.name + "k")
        self.folder.mkdir()
        found: set[tuple[str, int]] = set()
        for path in files(was):
            with suppress(FileNotFoundError):  # a thread of the dying one's is still at work
                shutil.copy(path, self.folder)
        for path in files(self.folder):
            segment, _ = parse(path.read_bytes())
            for room_id, lines in segment.events.items() if segment else ():
                found |= {(room_id, number_of(line)) for line in lines}
        return found

    def told(self, room: str = "blue") -> list[int]:
        return [message["epoch"] for message in self.streams.told(room) if "epoch" in message]


def number_of(line: bytes) -> int:
    return int(line.partition(b'"epoch":')[2].partition(b",")[0] or 0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


async def written(folder: Path, number: int) -> None:
    """Wait until the event stands in a file."""
    while not any(b'"epoch":%d,' % number in path.read_bytes() for path in files(folder)):
        await anyio.sleep(0.01)

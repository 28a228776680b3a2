"""How our stream server's throughput and memory change with the number of streams, the length of
a history, and readers of all kinds. Each line has a server of its own, fresh."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bench.streams import loaded
from bench.streams_servers import OURS, Server, started
from bench.streams_window import Found, Job

MB = 10**6
GB = 10**9
WRITERS = 64
READERS = 1_000
STALLED = 100
STREAMS = 10_000
STALL_SECONDS = 10.0
MEMORY_LINES = 6


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    streams: int = 1
    history: int = 0


SIZES = (
    Size("1 stream"),
    Size("100 streams", streams=100),
    Size("10,000 streams", streams=STREAMS),
    Size("1 MB of history", history=MB),
    Size("100 MB of history", history=100 * MB),
    Size("1 GB of history", history=GB),
)


@dataclass(slots=True)
class Sized:
    """``rss``: the server's bytes when it was new, with what it then held, and in the end."""

    size: Size
    runs: list[Found] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of memory: before, the most meanwhile, afterwards; ``found.worst``: an append's."""

    name: str
    before: int
    after: int
    found: Found


async def sizes(runs: int, seconds: float, told: Callable[[], None]) -> list[Sized]:
    """Appends by 64 writers to what is there already."""
    return [await _sized(size, runs, seconds, told) for size in SIZES]


async def _sized(size: Size, runs: int, seconds: float, told: Callable[[], None]) -> Sized:
    found = Sized(size)
    async with started(OURS) as server:
        job = replace(
            _job(server, "size"),
            kind="append",
            seconds=seconds,
            writers=WRITERS,
            streams=size.streams,
            history=size.history,
            there=True,
        )
        found.rss.append(server.rss)
        await loaded(replace(job, kind="fill"))
        found.rss.append(server.rss)
        for _ in range(runs):
            found.runs.append(await loaded(job))
            told()
        found.rss.append(server.rss)
    return found


def _job(server: Server, name: str) -> Job:
    return Job("fill", server.port, server.pid, name, probe=True, there=True)


async def memory(told: Callable[[], None]) -> list[Kept]:
    """What each holds of the server's memory, and an append's longest wait meanwhile."""
    found = []

    async def line(name: str, server: Server, job: Job) -> None:
        before = server.rss
        one = await loaded(job)
        found.append(Kept(name, before, server.rss, one))
        told()

    async with started(OURS) as server:
        job = _job(server, "many")
        await line("10,000 streams, made", server, replace(job, streams=STREAMS))
    async with started(OURS) as server:
        job = _job(server, "big")
        await loaded(replace(job, name="small", probe=False))
        follow = replace(job, name="small", kind="follow", readers=READERS)
        await line("1,000 SSE readers", server, follow)
        await line("1 GB, written", server, replace(job, history=GB))
        await line("1 GB, read by one", server, replace(job, kind="read"))
        stalled = replace(job, readers=STALLED, seconds=STALL_SECONDS)
        await line("100 do not read it (SSE)", server, replace(stalled, kind="stall-sse"))
        await line("100 do not read it (catch-up)", server, replace(stalled, kind="stall-read"))
    return found

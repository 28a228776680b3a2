"""What one job of the load generator is, what it finds, and the time that counts.

The job goes to a process of its own in JSON, what it found comes back the same way.
"""

from array import array
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Literal, TypeAlias

import anyio
import psutil

from bench.figures import percentile

WARM_UP_SECONDS = 0.7
SAMPLE_SECONDS = 0.1

Kind: TypeAlias = Literal[
    "append", "fill", "sse", "long-poll", "read", "follow", "stall-sse", "stall-read"
]


@dataclass(frozen=True, slots=True)
class Job:
    """``pid``: the server's. ``name``: how its streams' names begin. ``size``: bytes of a message;
    ``history``: bytes a stream holds beforehand; ``interval``: seconds between two messages;
    ``probe``: appends to another stream meanwhile are what is timed; ``there``: the streams are
    made already."""

    kind: Kind
    port: int
    pid: int
    name: str
    seconds: float = 5.0
    writers: int = 1
    streams: int = 1
    size: int = 100
    readers: int = 1
    history: int = 0
    interval: float = 0.1
    probe: bool = False
    there: bool = False

    def path(self, number: int = 0) -> str:
        return f"/v1/stream/{self.name}-{number}"


@dataclass(frozen=True, slots=True)
class Found:
    """``rate``: appends, deliveries or bytes a second; then seconds of one of them. CPU in shares
    of a core; ``rss``: the most memory the server had, bytes."""

    rate: float
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    server_cpu: float = 0.0
    load_cpu: float = 0.0
    rss: int = 0
    errors: int = 0


@dataclass(slots=True)
class Window:
    """Counts while it is open. ``took``: seconds, of each that was done."""

    pid: int
    done: int = 0
    errors: int = 0
    rss: int = 0
    open: bool = False
    took: "array[float]" = field(default_factory=lambda: array("d"))

    _began: tuple[float, float, float] = (0.0, 0.0, 0.0)

    async def count(self, seconds: float) -> Found:
        """Warm up, then count for so long."""
        await anyio.sleep(WARM_UP_SECONDS)
        self.begin()
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            await anyio.sleep(min(SAMPLE_SECONDS, left))
            self.look()
        return self.end()

    def look(self) -> None:
        self.rss = max(self.rss, psutil.Process(self.pid).memory_info().rss)

    def begin(self) -> None:
        self._began, self.open = _spent(self.pid), True

    def end(self) -> Found:
        self.open = False
        self.look()
        now = _spent(self.pid)
        return self._found([late - early for late, early in zip(now, self._began, strict=True)])

    def _found(self, spent: list[float]) -> Found:
        seconds, server, load = spent
        took = self.took or array("d", [0.0])
        return Found(
            rate=self.done / seconds,
            p50=percentile(took, 0.5),
            p99=percentile(took, 0.99),
            worst=max(took),
            server_cpu=server / seconds,
            load_cpu=load / seconds,
            rss=self.rss,
            errors=self.errors,
        )


def _spent(pid: int) -> tuple[float, float, float]:
    """Seconds: of the clock, of the server's CPU, of ours."""
    used = psutil.Process(pid).cpu_times()
    return perf_counter(), used.user + used.system, process_time()

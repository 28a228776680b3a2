"""The stream server against the Node reference, by turns, and against what the disk can do.

Each row has servers of its own, fresh; its runs alternate between them, so that what else the
machine does falls on all. The load comes from another process (streams_load).
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import anyio
import anyio.to_thread

from bench.figures import Goal
from bench.http import UnexpectedAnswerError
from bench.streams_servers import Server, started
from bench.streams_window import WARM_UP_SECONDS, Found, Job, Kind
from cli.statedir import ROOT

MIB = 1 << 20
JOB_SECONDS = 300.0  # the longest history takes most of it
DISK = "disk"
DISK_BYTES = 200  # a frame of the log with one append of 100 bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``figure``: rate, p50 or p99; ``goal`` in a second or in seconds."""

    name: str
    kind: Kind
    figure: str
    goal: Goal
    writers: int = 1
    streams: int = 1
    size: int = 100
    readers: int = 1
    history: int = 0


ROWS = (
    Row("append/s, 1 writer, 100 B", "append", "rate", Goal(at_least=2_000)),
    Row("append/s, 64 writers, 1 stream, 100 B", "append", "rate", Goal(at_least=10_000), 64),
    Row(
        "append/s, 64 writers, 1 stream, 4 KiB", "append", "rate", Goal(at_least=8_000), 64, 1, 4096
    ),
    Row("append/s, 64 writers, 64 streams, 100 B", "append", "rate", Goal(at_least=10_000), 64, 64),
    Row("SSE delivery p99, 100 readers", "sse", "p99", Goal(at_most=0.012), readers=100),
    Row("SSE delivery p99, 500 readers", "sse", "p99", Goal(at_most=0.030), readers=500),
    Row("long-poll p99, 100 readers", "long-poll", "p99", Goal(at_most=0.015), readers=100),
    Row("delivery p50, 10 MB of history", "sse", "p50", Goal(at_most=0.0015), history=10**7),
    Row(
        "catch-up of 8 MiB, 4 connections",
        "read",
        "rate",
        Goal(at_least=600e6),
        readers=4,
        history=8 * MIB,
    ),
)


@dataclass(slots=True)
class Measured:
    """Of one row: what each side found, run by run."""

    row: Row
    sides: dict[str, list[Found]] = field(default_factory=dict)

    def values(self, side: str) -> list[float]:
        return [float(getattr(found, self.row.figure)) for found in self.sides[side]]


async def measure(
    rows: Sequence[Row], sides: Sequence[str], runs: int, seconds: float, told: Callable[[], None]
) -> list[Measured]:
    """Raises StackError, UnexpectedAnswerError."""
    return [await _compare(row, sides, runs, seconds, told) for row in rows]


async def _compare(
    row: Row, sides: Sequence[str], runs: int, seconds: float, told: Callable[[], None]
) -> Measured:
    found = Measured(row)
    async with AsyncExitStack() as opened:
        servers = [await opened.enter_async_context(started(side)) for side in sides]
        for run in range(runs):
            for server in servers:
                job = _job(row, server, f"r{run}", seconds)
                found.sides.setdefault(server.name, []).append(await loaded(job))
                told()
            if row is ROWS[0]:
                limit = await anyio.to_thread.run_sync(disk, seconds)
                found.sides.setdefault(DISK, []).append(limit)
    return found


def _job(row: Row, server: Server, name: str, seconds: float) -> Job:
    return Job(
        kind=row.kind,
        port=server.port,
        pid=server.pid,
        name=name,
        seconds=seconds,
        writers=row.writers,
        streams=row.streams,
        size=row.size,
        readers=row.readers,
        history=row.history,
    )


async def loaded(job: Job) -> Found:
    """The job done by a process of its own. Raises UnexpectedAnswerError, TimeoutError."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "bench.streams_load", json.dumps(asdict(job))]
    with anyio.fail_after(job.seconds + JOB_SECONDS):
        ended = await anyio.run_process(command, check=False, env=environ)
    if ended.returncode:
        raise UnexpectedAnswerError(f"{job.kind}: {ended.stderr.decode()[-500:]}")
    return Found(**json.loads(ended.stdout))


def disk(seconds: float) -> Found:
    """What one writer gets from the disk by itself: write, fdatasync, again."""
    with tempfile.TemporaryDirectory(prefix="onair-bench-") as folder:
        file = os.open(Path(folder) / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            _write_on(file, WARM_UP_SECONDS)
            return Found(rate=_write_on(file, seconds))
        finally:
            os.close(file)


def _write_on(file: int, seconds: float) -> float:
    """Times a second."""
    done, began = 0, perf_counter()
    while perf_counter() - began < seconds:
        os.write(file, b"x" * DISK_BYTES)
        os.fdatasync(file)
        done += 1
    return done / (perf_counter() - began)

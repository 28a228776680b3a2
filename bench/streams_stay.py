"""Readers that stay, reading or not, and what they cost: the server's memory, and one writer.

The writer (``probe``) appends to a stream of its own all the while; the longest it waits tells
whether the server stood still.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from time import perf_counter

import anyio

from bench.streams_window import SAMPLE_SECONDS, Found, Job, Window
from bench.streams_wire import TEXT, Reply, Wire, answer, connected, request, tail

PROBE_SECONDS = 0.005  # between two appends of the probe


@asynccontextmanager
async def watched(job: Job, window: Window) -> AsyncGenerator[None]:
    """The window is open, memory looked at, and the probe, if wanted, at work."""
    async with anyio.create_task_group() as tasks:
        if job.probe:
            await answer(job.port, request("PUT", _probe_path(job), TEXT))
            tasks.start_soon(_probe, job, window)
        window.begin()
        tasks.start_soon(_look, window)
        yield
        tasks.cancel_scope.cancel()


def _probe_path(job: Job) -> str:
    return f"/v1/stream/{job.name}-probe"


async def _look(window: Window) -> None:
    while True:
        window.look()
        await anyio.sleep(SAMPLE_SECONDS)


async def _probe(job: Job, window: Window) -> None:
    heard = asyncio.Event()
    whole = request("POST", _probe_path(job), TEXT, b"p" * job.size)

    def note(_: Wire, reply: Reply) -> None:
        window.errors += reply.status != 204
        heard.set()

    wire = await connected(job.port, note)
    while True:
        heard.clear()
        began = perf_counter()
        wire.ask(whole)
        await heard.wait()
        window.took.append(perf_counter() - began)
        await anyio.sleep(PROBE_SECONDS)


async def stay(job: Job) -> Found:
    """``follow``: event streams at the tail, read. ``stall-…``: of the whole stream, not read."""
    window = Window(job.pid)
    offset = await tail(job.port, job.path()) if job.kind == "follow" else "-1"
    live = "" if job.kind == "stall-read" else "&live=sse"
    whole = request("GET", f"{job.path()}?offset={offset}{live}", {})
    with ExitStack() as wires:
        async with watched(job, window):
            for _ in range(job.readers):
                wire = await connected(job.port, lambda *_: None)
                wires.callback(wire.close)
                wire.ask(whole)
                if job.kind != "follow":
                    wire.pause()
            await anyio.sleep(job.seconds)
        return window.end()

"""The load generator of `bench streams`: ``python -m bench.streams_load JOB``.

A process of its own, so that it and the server share the machine and nothing else. It says what
share of a core it took itself: where that is near one, it was the limit and not the server.
"""

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import cycle
from time import perf_counter

import anyio
import uvloop

from bench import streams_stay
from bench.streams_window import Found, Job, Window
from bench.streams_wire import NEXT, TEXT, Reply, Wire, connected, each, request, tail

MARK = b"<m"
MARK_BYTES = 10  # and eight digits
WARM_UP_MESSAGES = 5
FILLERS = 32  # connections that write a history
FILL_BYTES = 16 * 1024
JOIN_SECONDS = 1.0  # until a long-poll surely waits: nothing tells
LAST_SECONDS = 5.0  # what was sent may take to arrive


async def fill(job: Job) -> Found:
    """Make the streams, the first with its history. Raises UnexpectedAnswerError."""
    window = Window(job.pid)
    wholes = [request("PUT", job.path(number), TEXT) for number in range(job.streams)]
    size = min(job.history, FILL_BYTES)
    whole = request("POST", job.path(), TEXT, b"h" * size)
    async with streams_stay.watched(job, window):
        await each(job.port, wholes, min(job.streams, FILLERS))
        if size:
            await each(job.port, (whole for _ in range(job.history // size)), FILLERS)
    return window.end()


# -- append ---------------------------------------------------------------------------------


class Writer:
    """A closed loop: the next append goes out when the last was acknowledged."""

    def __init__(self, window: Window, wholes: list[bytes]) -> None:
        self._window = window
        self._wholes = cycle(wholes)
        self._sent = 0.0

    async def start(self, port: int) -> Wire:
        wire = await connected(port, self._heard)
        self._send(wire)
        return wire

    def _heard(self, wire: Wire, reply: Reply) -> None:
        window = self._window
        if reply.status != 204:
            window.errors += 1
        elif window.open:
            window.done += 1
            window.took.append(perf_counter() - self._sent)
        if reply.status:
            self._send(wire)

    def _send(self, wire: Wire) -> None:
        self._sent = perf_counter()
        wire.ask(next(self._wholes))


async def append(job: Job) -> Found:
    """Writers share the streams: each has every n-th of them, or all write to the only one."""
    window, body = Window(job.pid), b"x" * job.size
    with ExitStack() as wires:
        for number in range(job.writers):
            own = range(number % job.streams, job.streams, min(job.writers, job.streams))
            wholes = [request("POST", job.path(one), TEXT, body) for one in own]
            wires.callback((await Writer(window, wholes).start(job.port)).close)
        return await window.count(job.seconds)


# -- delivery -------------------------------------------------------------------------------


class Arrivals:
    """When each message went out, and how long after that each reader had it."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._sent: list[float] = []
        self.arrived = 0

    def next_body(self, size: int) -> bytes:
        return b"%b%08d" % (MARK, len(self._sent)) + b"x" * (size - MARK_BYTES)

    def goes_out(self) -> None:
        self._sent.append(perf_counter())

    @property
    def sent(self) -> int:
        return len(self._sent)

    def arrives(self, number: int) -> None:
        self.arrived += 1
        if number >= WARM_UP_MESSAGES:
            self._window.done += 1
            self._window.took.append(perf_counter() - self._sent[number])


class Scanner:
    """Finds the messages' marks in what one reader gets, however it is cut."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._rest = b""

    def saw(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at = data.find(MARK)
        while 0 <= at <= len(data) - MARK_BYTES:
            self._arrivals.arrives(int(data[at + 2 : at + MARK_BYTES]))
            at = data.find(MARK, at + MARK_BYTES)
        self._rest = data[at:] if at >= 0 else data[-1:] if data.endswith(MARK[:1]) else b""


def event_reader(job: Job, offset: str) -> bytes:
    return request("GET", f"{job.path()}?offset={offset}&live=sse", {})


def long_poller(job: Job, offset: str) -> bytes:
    return request("GET", f"{job.path()}?offset={offset}&live=long-poll", {})


async def deliver(job: Job) -> Found:
    """One writer sends a message each interval; all readers wait for it. The time runs from
    sending the append until a reader has the message."""
    window = Window(job.pid)
    arrivals, offset = Arrivals(window), await tail(job.port, job.path())

    def again(wire: Wire, reply: Reply) -> None:
        if reply.status != 200 or job.kind == "sse":
            window.errors += 1  # an event stream does not end so early
        else:
            wire.ask(long_poller(job, reply.header(NEXT).decode()))

    ask = event_reader if job.kind == "sse" else long_poller
    with ExitStack() as wires:
        for _ in range(job.readers):
            wire = await connected(job.port, again, Scanner(arrivals).saw)
            wires.callback(wire.close)
            wire.ask(ask(job, offset))
        await anyio.sleep(JOIN_SECONDS)
        window.begin()
        await _send(job, arrivals)
        window.errors += arrivals.sent * job.readers - arrivals.arrived
        return window.end()


async def _send(job: Job, arrivals: Arrivals) -> None:
    """One message after the other, then wait until all are there, but not for ever."""
    free = anyio.Semaphore(1)
    wire = await connected(job.port, lambda _, __: free.release())
    for _ in range(WARM_UP_MESSAGES + round(job.seconds / job.interval)):
        await free.acquire()
        whole = request("POST", job.path(), TEXT, arrivals.next_body(job.size))
        arrivals.goes_out()
        wire.ask(whole)
        await anyio.sleep(job.interval)
    with anyio.move_on_after(LAST_SECONDS):
        while arrivals.arrived < arrivals.sent * job.readers:  # noqa: ASYNC110 - counts, no event
            await anyio.sleep(job.interval)
    wire.close()


# -- catch-up -------------------------------------------------------------------------------


async def read(job: Job) -> Found:
    """Readers that read the whole stream again and again; ``rate`` is in bytes."""
    window, first = Window(job.pid), request("GET", f"{job.path()}?offset=-1", {})

    def heard(wire: Wire, reply: Reply) -> None:
        if reply.status != 200:
            window.errors += 1
            return
        if window.open:
            window.done += reply.size
        if reply.header(b"stream-up-to-date"):
            wire.ask(first)
        else:
            offset = reply.header(NEXT).decode()
            wire.ask(request("GET", f"{job.path()}?offset={offset}", {}))

    with ExitStack() as wires:
        for _ in range(job.readers):
            wire = await connected(job.port, heard)
            wires.callback(wire.close)
            wire.ask(first)
        async with streams_stay.watched(job, window):
            await anyio.sleep(job.seconds)
        return window.end()


async def run(job: Job) -> Found:
    """Raises UnexpectedAnswerError."""
    if not job.there and job.kind != "fill":
        await fill(replace(job, probe=False))
    match job.kind:
        case "fill":
            return await fill(job)
        case "append":
            return await append(job)
        case "sse" | "long-poll":
            return await deliver(job)
        case "read":
            return await read(job)
        case "follow" | "stall-sse" | "stall-read":
            return await streams_stay.stay(job)


def main() -> None:
    found = uvloop.run(run(Job(**json.loads(sys.argv[1]))))
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

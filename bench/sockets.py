"""A crowd at the gateway's door: many WebSockets within a second, and many that never say why.

Two hosts talk meanwhile, and ask all the time: what the crowd costs them is the longest answer
they get. The crowd lives in a process of its own, so that nobody waits for us.
"""

import asyncio
import functools
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter

import anyio
import anyio.to_process
import psutil

from bench import http
from bench.host import Host
from bench.stack import Stack
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, Tokens

ROOM = "bench-show"
LOW, HIGH = 440.0, 1000.0
HOSTS_PER_ROOM = 40  # a room takes 50
WITHIN_SECONDS = 1.0
HOLD_SECONDS = 6.0
CALM_SECONDS = 3.0
ASK_SECONDS = 0.08  # a host may send 20 messages a second
PATIENCE_SECONDS = 60.0
SAMPLE_SECONDS = 0.1
SETTINGS = {"ONAIR_GATEWAY_MAX_PER_ADDRESS": "5000"}
TTL_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Opened:
    """One socket: seconds from its opening to its answer; status 0: there was none."""

    seconds: float
    status: int


@dataclass(slots=True)
class Watch:
    """What two hosts notice. ``answers``: seconds each; ``heard``: both at the end."""

    answers: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # of the gateway, bytes
    heard: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """``idle``: the gateway's memory before; ``seconds``: until the last of them was answered."""

    name: str
    sockets: int
    seconds: float
    opened: list[Opened]
    idle: int
    watch: Watch
    cpu: float  # seconds of the gateway's, until the crowd went

    @property
    def bytes_each(self) -> float:
        return (max(self.watch.memory) - self.idle) / self.sockets


def now_seconds() -> int:
    """Since 1970, as tokens count."""
    return int(datetime.now(UTC).timestamp())


# -- the crowd ------------------------------------------------------------------------------


def handshake(token: str) -> bytes:
    """By hand: a thousand clients of a library would keep us busy, not the gateway."""
    return (
        f"GET /ws HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def tokens(master: str, count: int, per_room: int = HOSTS_PER_ROOM) -> list[str]:
    """Of as many hosts, in as many rooms as it takes; none of these rooms is there."""
    maker, now = Tokens([token_key(master.encode())]), now_seconds()
    rooms = (RoomId(f"crowd-{n // per_room}") for n in range(count))
    return [
        maker.issue(room, f"user-{n}", Role.HOST, now=now, ttl=TTL_SECONDS)
        for n, room in enumerate(rooms)
    ]


async def opened(port: int, sent: Sequence[bytes], hold: float) -> tuple[float, list[Opened]]:
    """Open a socket for each within a second, send that, and keep them all for a while.

    What sends no whole request is not waited for. Answers with the seconds until the last answer.
    """
    began = perf_counter()
    found: list[Opened] = []
    writers: list[asyncio.StreamWriter] = []

    async def one(number: int, request: bytes) -> None:
        await anyio.sleep(number / len(sent) * WITHIN_SECONDS)
        at = perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(request)
        status = 0
        if request.endswith(b"\r\n\r\n"):
            status = await _status(reader)
        found.append(Opened(perf_counter() - at, status))

    async with anyio.create_task_group() as tasks:
        for number, request in enumerate(sent):
            tasks.start_soon(one, number, request)
    seconds = perf_counter() - began
    await anyio.sleep(hold)
    for writer in writers:
        writer.transport.abort()
    return seconds, found


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            return int((await reader.readuntil(b"\r\n\r\n"))[9:12])
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return 0


def crowd(port: int, sent: Sequence[bytes]) -> tuple[float, list[Opened]]:
    """``opened``, in a process of its own."""
    return anyio.run(opened, port, sent, HOLD_SECONDS, backend_options={"use_uvloop": True})


# -- those who talk -------------------------------------------------------------------------


@asynccontextmanager
async def talking(url: str, tokens: Iterable[str]) -> AsyncGenerator[list[Host]]:
    """Two hosts who hear each other."""
    async with AsyncExitStack() as stack:
        hosts = []
        for token, hertz in zip(tokens, (LOW, HIGH), strict=True):
            host = Host(hertz)
            stack.push_async_callback(host.close)
            await host.connect(url, token)
            await host.join()
            await host.publish()
            await host.connected()
            hosts.append(host)
        await _hear_each_other(hosts)
        yield hosts


async def _hear_each_other(hosts: Sequence[Host]) -> None:
    """Raises TimeoutError."""
    for host, hertz in zip(hosts, (HIGH, LOW), strict=True):
        if host.caller is not None:
            await host.caller.hears(hertz)


@asynccontextmanager
async def watching(hosts: Sequence[Host], gateway: psutil.Process) -> AsyncGenerator[Watch]:
    """The hosts ask one after the other all the while."""
    watch, done = Watch(), anyio.Event()

    async def ask() -> None:
        for host in itertools.cycle(hosts):
            at = perf_counter()
            if done.is_set() or host.line is None:
                return
            await host.line.ask("ping")
            watch.answers.append(perf_counter() - at)
            await anyio.sleep(ASK_SECONDS / 2)

    async def weigh() -> None:
        while not done.is_set():
            watch.memory.append(gateway.memory_info().rss)
            await anyio.sleep(SAMPLE_SECONDS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(weigh)
        yield watch
        done.set()
    await _hear_each_other(hosts)
    watch.heard = True


# -- turns ----------------------------------------------------------------------------------


async def measure(stack: Stack, sockets: int, told: Callable[[], None]) -> list[Turn]:
    """Nobody, then the crowd, then sockets that say half a header or nothing."""
    async with http.connected(stack.site.api_url, stack.api_key) as caller:
        await caller.must("POST", "/api/rooms", f'{{"roomId": "{ROOM}"}}')
        await caller.must("POST", f"/api/rooms/{ROOM}/start?wait=30")
    master, url = stack.site.secret("master"), stack.site.gateway_url(1)
    maker, now = Tokens([token_key(master.encode())]), now_seconds()
    own = [
        maker.issue(RoomId(ROOM), user, Role.HOST, now=now, ttl=TTL_SECONDS)
        for user in ("ann", "bob")
    ]
    whole = [handshake(token) for token in tokens(master, sockets)]
    halves = [(b"", whole[0][:40])[n % 2] for n in range(sockets)]
    turns = []
    async with talking(url, own) as hosts:
        for name, sent in (("nobody", []), ("WebSockets", whole), ("half open", halves)):
            turns.append(await _turn(stack, hosts, name, sent))
            told()
    return turns


async def _turn(stack: Stack, hosts: Sequence[Host], name: str, sent: Sequence[bytes]) -> Turn:
    gateway = psutil.Process(stack.read_pids()["gateway"])
    await anyio.sleep(CALM_SECONDS)
    idle, port = gateway.memory_info().rss, stack.site.block(1).gateway
    before = _cpu(gateway)
    async with watching(hosts, gateway) as watch:
        if sent:
            seconds, found = await anyio.to_process.run_sync(functools.partial(crowd, port, sent))
        else:
            await anyio.sleep(HOLD_SECONDS)
            seconds, found = 0.0, []
        used = _cpu(gateway) - before
    return Turn(name, len(sent) or 1, seconds, found, idle, watch, used)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

"""Starts per second of one room manager, beside a bare route: in turns, same client, same core.

No module is behind the heartbeats: what is measured is accepting a start, not carrying it out.
The server in hand has one core to itself (as far as the machine has two); client and etcd share
the other.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import anyio
import psutil

from bench import http, records
from bench.stack import POLL_SECONDS, START_SECONDS, Stack, StackError, end, spawn
from cli.ports import LOOPBACK, taken
from pkg.etcd.api import DeletePrefix, Etcd, Op, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import Kind, ModuleId, RoomId

NAMESPACE = "starts"  # beside, not below, what the stack's own room manager watches
MODULES = 10  # of each kind
CLIENTS = 16
ROOMS_PER_TXN = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """``starts`` per turn; ``rounds`` turns of each side, after one that does not count."""

    starts: int = 300
    rounds: int = 15

    @property
    def total(self) -> int:
        return self.starts * (self.rounds + 1)


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one turn: answers per second, and the server's CPU seconds for one of them."""

    per_second: float
    cpu_seconds: float


@dataclass(slots=True)
class Rates:
    """One figure a turn; the first turn of each is warm-up and left out."""

    onair: list[Rate] = field(default_factory=list)
    bare: list[Rate] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """Of neighbours in time, so that what else the machine does falls on both."""
        pairs = zip(self.onair, self.bare, strict=True)
        return [ours.per_second / bare.per_second for ours, bare in pairs]


async def measure(stack: Stack, sizes: Sizes, told: Callable[[], None]) -> Rates:
    found = Rates()
    etcd = EtcdClient(EtcdOptions([stack.site.etcd_url], namespace=NAMESPACE))
    try:
        rooms = await _furnish(etcd, sizes.total)
        async with _servers(stack) as (onair, bare):
            for turn in range(sizes.rounds + 1):
                wanted = rooms[turn * sizes.starts : (turn + 1) * sizes.starts]
                ours = await _rate(onair, stack.api_key, [_start(room) for room in wanted])
                told()
                limit = await _rate(bare, stack.api_key, [f"/start/{r}" for r in wanted])
                told()
                if turn:
                    found.onair.append(ours)
                    found.bare.append(limit)
    finally:
        await etcd.txn([], [DeletePrefix("")])
        await etcd.aclose()
    return found


def _start(room_id: RoomId) -> str:
    return f"/api/rooms/{room_id}/start"


async def _furnish(etcd: Etcd, rooms: int) -> list[RoomId]:
    """Heartbeats with places for all rooms and to spare, and the idle rooms themselves."""
    capacity = max(100, 2 * rooms // MODULES)
    beats: list[Op] = [
        records.heartbeat(kind, ModuleId(f"{kind.value}-{number:02d}"), capacity)
        for kind in Kind
        for number in range(MODULES)
    ]
    await commit(etcd, [], beats)
    made = [RoomId(f"room-{number:011d}") for number in range(rooms)]
    for first in range(0, rooms, ROOMS_PER_TXN):
        metas: list[Op] = [records.meta(r) for r in made[first : first + ROOMS_PER_TXN]]
        await commit(etcd, [], metas)
    return made


@asynccontextmanager
async def _servers(stack: Stack) -> AsyncGenerator[tuple[Server, Server]]:
    """A room manager of its own, and the bare route; pinned to one core beside us."""
    site, scratch = stack.site, stack.scratch
    own, other = _free_port(range(6_000, 6_100)), _free_port(range(6_100, 6_200))
    environ = {
        "ONAIR_ETCD_ENDPOINTS": site.etcd_url,
        "ONAIR_ETCD_PREFIX": NAMESPACE,
        "ONAIR_MASTER_SECRET_FILE": str(site.state.secret("master")),
        "ONAIR_ROOM_MANAGER_API_KEY_FILE": str(site.state.secret("api-key")),
        "ONAIR_ROOM_MANAGER_LISTEN": f"{LOOPBACK}:{own}",
        "ONAIR_LOG_FORMAT": "json",
    }
    servers = [
        spawn(["roommanager"], scratch / "room-manager.log", environ),
        spawn(["bench.bare", site.etcd_url, str(other)], scratch / "bare.log"),
    ]
    try:
        await _until_ready(own, "/readyz")
        await _until_ready(other, "/openapi.json")
        with _parted([server.pid for server in servers], [os.getpid(), stack.pids["etcd"]]):
            yield (
                Server(f"http://{LOOPBACK}:{own}", psutil.Process(servers[0].pid)),
                Server(f"http://{LOOPBACK}:{other}", psutil.Process(servers[1].pid)),
            )
    finally:
        with anyio.CancelScope(shield=True):
            for server in servers:
                await end(server)


def _free_port(among: range) -> int:
    for port in among:
        if not taken([port]):
            return port
    raise StackError(f"no free port in {among}")


async def _until_ready(port: int, path: str) -> None:
    with anyio.fail_after(START_SECONDS):
        while True:
            try:
                async with http.connected(f"http://{LOOPBACK}:{port}", "") as connection:
                    status, _ = await connection.ask("GET", path)
                    if status == 200:
                        return
            except OSError:
                pass
            await anyio.sleep(POLL_SECONDS)


@contextmanager
def _parted(servers: Sequence[int], others: Sequence[int]) -> Iterator[None]:
    """Servers on one core, us and etcd on the rest, while the block runs. On one core: nothing."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield
        return
    try:
        _pin(servers, {cores[0]})
        _pin(others, set(cores[1:]))
        yield
    finally:
        _pin(others, set(cores))


def _pin(pids: Sequence[int], cores: set[int]) -> None:
    """Every thread of each process: affinity belongs to threads."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                os.sched_setaffinity(int(task), cores)
            except ProcessLookupError:  # a thread that has ended meanwhile
                continue


async def _rate(server: Server, api_key: str, paths: Sequence[str]) -> Rate:
    """What the server makes of ``CLIENTS`` closed loops that share the paths between them."""
    todo = iter(paths)

    async with AsyncExitStack() as opened:
        connections = [
            await opened.enter_async_context(http.connected(server.url, api_key))
            for _ in range(CLIENTS)
        ]
        began, used = perf_counter(), server.cpu_seconds()
        async with anyio.create_task_group() as tasks:
            for connection in connections:
                tasks.start_soon(_loop, connection, todo)
        seconds, cpu = perf_counter() - began, server.cpu_seconds() - used
        return Rate(len(paths) / seconds, cpu / len(paths))


async def _loop(connection: http.Connection, todo: Iterator[str]) -> None:
    for path in todo:
        await connection.must("POST", path)

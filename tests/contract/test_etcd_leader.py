"""A cluster of three whose leader dies or freezes: no acknowledged write is lost, stalls end."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg.etcd.api import AmbiguousError, CreatedIs, Etcd, Put, UnavailableError, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support.etcd import EtcdServer, cluster, leader_of

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]

WRITERS = 6
STALL_SECONDS = 20.0  # an election and the deadlines of what was in flight; 2 to 5 s measured
BLOWS: dict[str, Callable[[EtcdServer], None]] = {
    "killed": EtcdServer.kill,
    "paused": EtcdServer.pause,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def members() -> Iterator[list[EtcdServer]]:
    with cluster(3) as servers:
        yield servers


@asynccontextmanager
async def client(members: list[EtcdServer]) -> AsyncGenerator[Etcd]:
    etcd = EtcdClient(EtcdOptions([member.url for member in members]))
    try:
        yield etcd
    finally:
        await etcd.aclose()


class Writer:
    """Creates one key after another and never again; keeps what was acknowledged, and the waits."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.acknowledged: dict[str, int] = {}
        self.refused: set[str] = set()
        self.stall = 0.0

    async def write(self, etcd: Etcd, goal: anyio.Event) -> None:
        """Until ``goal`` is set and one more write was accepted."""
        last, n = anyio.current_time(), 0
        while True:
            key, n, over = f"/k/{self._number}-{n}", n + 1, goal.is_set()
            try:
                self.acknowledged[key] = await commit(etcd, [CreatedIs(key, 0)], [Put(key, b"")])
            except UnavailableError:
                self.refused.add(key)
            except AmbiguousError:
                pass
            else:
                self.stall = max(self.stall, anyio.current_time() - last)
                last = anyio.current_time()
                if over:
                    return
            await anyio.sleep(0.005)


@pytest.mark.parametrize("blow", BLOWS)
async def test_no_acknowledged_write_is_lost_and_the_stall_is_short(
    members: list[EtcdServer], blow: str
) -> None:
    """Each writer's client begins at another member, so some talk to the leader itself."""
    writers, goal = [Writer(n) for n in range(WRITERS)], anyio.Event()
    leader = leader_of(members)

    async def write(writer: Writer, first: int) -> None:
        async with client(members[first:] + members[:first]) as etcd:
            await writer.write(etcd, goal)

    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks:
            for n, writer in enumerate(writers):
                tasks.start_soon(write, writer, n % 3)
            await _written(writers, 100)
            BLOWS[blow](leader)
            await _written(writers, 100)
            goal.set()
    if blow == "paused":
        leader.resume()
    async with client([member for member in members if member is not leader]) as etcd:
        there = {kv.key: kv.create_revision for kv in (await etcd.range("/k/")).kvs}
    for writer in writers:
        assert writer.acknowledged.items() <= there.items(), "an acknowledged write is lost"
        assert not writer.refused & there.keys(), "surely not applied, but it was"
    stall = max(writer.stall for writer in writers)
    print(f"leader {blow}: the longest stall of {WRITERS} writers was {stall:.2f} s")
    assert stall < STALL_SECONDS


async def _written(writers: list[Writer], more: int) -> None:
    """Until each has written so many more."""
    goals = [len(writer.acknowledged) + more for writer in writers]
    while any(len(w.acknowledged) < goal for w, goal in zip(writers, goals, strict=True)):
        await anyio.sleep(0.01)

"""The client when etcd crashes, freezes, or its answers are lost. Real servers of 3.4."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from pkg.etcd.api import AmbiguousError, Etcd, Put, UnavailableError, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.member import DEADLINE_SECONDS
from tests.support.etcd import EtcdServer
from tests.support.proxy import proxied
from tests.support.tcp import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]

# What the client promises, and what two cores that others use as well may take besides.
BOUND_SECONDS = DEADLINE_SECONDS + 10.0
BACK_SECONDS = 1.0 + 5.0  # the cap of the backoff; grpc's own goes up to two minutes
PATIENCE_SECONDS = 11.5 + 30.0  # a silent connection is noticed by grpc's pings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    with EtcdServer() as running:
        yield running


@asynccontextmanager
async def client(*urls: str) -> AsyncGenerator[Etcd]:
    etcd = EtcdClient(EtcdOptions(endpoints=urls))
    try:
        yield etcd
    finally:
        await etcd.aclose()


async def test_nobody_there_is_surely_not_applied() -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as etcd:
        for call in (etcd.txn([], [Put("/k", b"")]), etcd.grant(5), etcd.revoke(5)):
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
                await call
        with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
            await etcd.get("/k")
        with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
            async with etcd.watch("/", since=1):
                pass


async def test_a_killed_etcd_is_usable_at_once_after_its_return(server: EtcdServer) -> None:
    async with client(server.url) as etcd:
        revision = await commit(etcd, [], [Put("/k", b"kept")])
        with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(UnavailableError):
            async with etcd.watch("/", since=revision + 1) as batches:
                server.kill()
                async for _ in batches:
                    pass
        with anyio.move_on_after(4):  # long enough for the backoff to have reached its cap
            while True:
                with pytest.raises((UnavailableError, AmbiguousError)):
                    await etcd.txn([], [Put("/k", b"lost")])
                await anyio.sleep(0.1)
        server.launch().wait_ready()
        returned = anyio.current_time()
        while (found := await read_if_up(etcd)) is None:
            assert anyio.current_time() - returned < BACK_SECONDS
        assert found == b"kept"


async def read_if_up(etcd: Etcd) -> bytes | None:
    with suppress(UnavailableError):
        found = await etcd.get("/k")
        return found.value if found else b""
    await anyio.sleep(0.02)
    return None


async def test_a_frozen_etcd(server: EtcdServer) -> None:
    """Writes are ambiguous within the deadline; the watch notices though no packet says so."""
    async with client(server.url) as etcd, etcd.watch("/w", since=1) as batches:
        await commit(etcd, [], [Put("/k", b"before")])
        server.pause()
        try:
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(AmbiguousError) as caught:
                await etcd.txn([], [Put("/k", b"secret-value")])
            assert "secret" not in str(caught.value)
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
                await etcd.get("/k")
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
                await etcd.keep_alive(7)
            with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(UnavailableError):
                async for _ in batches:
                    pass
        finally:
            server.resume()


async def test_a_connection_that_is_made_slowly_is_waited_for(server: EtcdServer) -> None:
    """As over a long line, or to a machine that has much to do."""
    async with proxied(server.port) as proxy, client(proxy.url) as etcd:
        proxy.delay = 0.2
        assert await etcd.get("/k") is None


async def enter(etcd: Etcd) -> None:
    async with etcd.watch("/w", since=None):
        pass


async def test_a_cancelled_call_ends_in_its_own_scope(server: EtcdServer) -> None:
    """Else it would end whatever task group it runs in: an informer, a daemon."""
    calls: list[Callable[[Etcd], Awaitable[object]]] = [
        lambda etcd: etcd.get("/k"),
        lambda etcd: etcd.txn([], [Put("/k", b"")]),
        lambda etcd: etcd.grant(5),
        lambda etcd: etcd.keep_alive(7),
        lambda etcd: etcd.status(),
        enter,
    ]
    async with client(server.url) as etcd:
        await etcd.get("/k")
        server.pause()
        try:
            for call in calls:
                with anyio.move_on_after(0.1) as scope:
                    await call(etcd)
                assert scope.cancelled_caught
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(UnavailableError):
                await enter(etcd)
        finally:
            server.resume()


async def test_a_lost_answer_is_ambiguous_and_the_write_is_there(server: EtcdServer) -> None:
    async with (
        proxied(server.port) as proxy,
        client(server.url) as direct,
        client(proxy.url) as etcd,
    ):
        await commit(etcd, [], [Put("/warm", b"")])
        proxy.deaf = True

        async def write() -> None:
            with anyio.fail_after(BOUND_SECONDS), pytest.raises(AmbiguousError):
                await etcd.txn([], [Put("/k", b"applied")])

        async with anyio.create_task_group() as writing:
            writing.start_soon(write)
            async with direct.watch("/k", since=1) as batches:
                async for batch in batches:
                    if batch.changes:
                        break
            proxy.cut()
        found = await direct.get("/k")
        assert found is not None
        assert (found.value, found.version) == (b"applied", 1)


async def test_a_dead_endpoint_is_passed_over(server: EtcdServer) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    async with client(*dead, server.url) as etcd:
        with anyio.fail_after(BOUND_SECONDS):
            await commit(etcd, [], [Put("/k", b"")])
            async with etcd.watch("/", since=1) as batches:
                async for batch in batches:
                    if batch.changes:
                        break

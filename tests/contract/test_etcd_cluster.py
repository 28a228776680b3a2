"""The client on a cluster of three, one or two of which die. Debian's etcd 3.4."""

from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from pkg.etcd.api import AmbiguousError, Etcd, Put, UnavailableError
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support.etcd import EtcdServer, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def members() -> Iterator[list[EtcdServer]]:
    ports = {f"m{n}": free_port() for n in range(3)}
    cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in ports.items())
    servers = [EtcdServer(name=n, cluster=cluster, peer_port=p) for n, p in ports.items()]
    with ExitStack() as stack:
        for server in servers:
            stack.push(server)
            server.launch()
        yield [server.wait_ready() for server in servers]


async def write_until_accepted(etcd: Etcd, key: str) -> float:
    """Seconds until a write was answered with success; a caller would plan anew each time."""
    started = anyio.current_time()
    while True:
        try:
            await etcd.txn([], [Put(key, b"")])
        except (AmbiguousError, UnavailableError):
            await anyio.sleep(0.05)
        else:
            return anyio.current_time() - started


async def test_one_of_three_killed_then_the_quorum_lost(members: list[EtcdServer]) -> None:
    etcd = EtcdClient(EtcdOptions(endpoints=[member.url for member in members]))
    try:
        await write_until_accepted(etcd, "/before")
        members[0].kill()  # the one the client talks to
        with anyio.fail_after(8):
            await write_until_accepted(etcd, "/after")
            assert await etcd.get("/before") is not None
            revision = (await etcd.range("/")).revision
        async with etcd.watch("/", since=revision + 1) as batches:
            members[1].kill()
            with anyio.fail_after(15), pytest.raises(UnavailableError):
                async for _ in batches:
                    pass
        with anyio.fail_after(2.5), pytest.raises((AmbiguousError, UnavailableError)):
            await etcd.txn([], [Put("/k", b"")])
        assert not (await etcd.status()).has_leader
    finally:
        await etcd.aclose()

"""The client on a cluster of three, one or two of which die. Debian's etcd 3.4."""

from collections.abc import Iterator

import anyio
import pytest

from pkg.etcd.api import AmbiguousError, Etcd, Put, UnavailableError
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.member import DEADLINE_SECONDS
from tests.support.etcd import EtcdServer, cluster

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]

PATIENCE_SECONDS = 40.0  # for what takes 2 to 12 s on a machine of one's own


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def members() -> Iterator[list[EtcdServer]]:
    with cluster(3) as servers:
        yield servers


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
        with anyio.fail_after(PATIENCE_SECONDS):
            await write_until_accepted(etcd, "/after")
            assert await etcd.get("/before") is not None
            revision = (await etcd.range("/")).revision
        async with etcd.watch("/", since=revision + 1) as batches:
            members[1].kill()
            with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(UnavailableError):
                async for _ in batches:
                    pass
        with (
            anyio.fail_after(DEADLINE_SECONDS + 10),
            pytest.raises((AmbiguousError, UnavailableError)),
        ):
            await etcd.txn([], [Put("/k", b"")])
        assert not (await etcd.status()).has_leader
    finally:
        await etcd.aclose()

"""The worlds that the etcd contract is run in: memory (virtual and real time), real etcds."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

import pytest

from pkg.etcd.api import Etcd
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from tests.support.etcd import FLAVOURS, etcd_namespace, shared_directory, shared_url

__all__ = ["etcd_namespace"]

PATIENCE_SECONDS = 20.0  # the contract is about answers; their deadline has tests of its own
Connect: TypeAlias = Callable[..., Etcd]
REAL = [pytest.param(f"etcd-{flavour}", marks=pytest.mark.etcd) for flavour in FLAVOURS]


@pytest.fixture(params=["memory-trio", "memory-asyncio", *REAL])
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connect(
    world: str,
    anyio_backend: object,
    etcd_namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Connect]:
    """Make clients of one cluster; their namespace starts with this test's own."""
    store, made = MemoryStore(), list[Etcd]()

    def client(namespace: str = "") -> Etcd:
        inside = etcd_namespace + namespace
        if world.startswith("memory"):
            made.append(MemoryEtcd(store, namespace=inside))
        else:
            url = shared_url(world.removeprefix("etcd-"), shared_directory(tmp_path_factory))
            made.append(EtcdClient(EtcdOptions([url], inside, deadline=PATIENCE_SECONDS)))
        return made[-1]

    yield client
    for etcd in made:
        await etcd.aclose()


@pytest.fixture
def etcd(connect: Connect) -> Etcd:
    return connect()

"""A copy of etcd that may not read any more: an error at the start, patience later."""

import random

import anyio
import pytest

from pkg.etcd.api import AccessError, Put, Snapshot
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.informer import Informer
from tests.support.virtual import until

pytestmark = pytest.mark.anyio


class Guarded(MemoryEtcd):
    """``shut``: nobody may read."""

    shut = False

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        if self.shut:
            raise AccessError("permission denied")
        return await super().range(prefix, limit=limit, start=start)


async def test_access_that_is_taken_away_ends_nothing_and_shows() -> None:
    store = MemoryStore()
    etcd = Guarded(store)
    informer = Informer(etcd, ("/a/",), random.Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(informer.run)
        await informer.synced.wait()
        etcd.shut = True
        etcd.outage(down=True)
        await until(lambda: informer.broken_since is not None)
        etcd.outage(down=False)
        await anyio.sleep(60)
        assert informer.broken_since is not None
        informer.follow("/b/")
        await anyio.sleep(5)
        etcd.shut = False
        await MemoryEtcd(store).txn([], [Put("/a/1", b"1"), Put("/b/1", b"1")])
        await until(lambda: {*informer.keys("/a/"), *informer.keys("/b/")} == {"/a/1", "/b/1"})
        tasks.cancel_scope.cancel()


async def test_no_access_at_the_start_ends_the_start() -> None:
    etcd = Guarded(MemoryStore())
    etcd.shut = True
    with pytest.RaisesGroup(AccessError):
        await Informer(etcd, ("/a/",), random.Random(1)).run()

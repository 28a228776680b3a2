"""Leases: what api.py promises, on memory and on real etcd."""

import anyio
import pytest

from pkg.etcd.api import (
    BadRequestError,
    Batch,
    ConflictError,
    Delete,
    Etcd,
    LeaseIs,
    NoneUnder,
    Put,
    commit,
)
from tests.contract.conftest import Connect
from tests.support.etcd import loop_for

pytestmark = pytest.mark.anyio

LATE_SECONDS = 10.0  # etcd looks for expired leases twice a second; and it is not alone here


@pytest.fixture
def anyio_backend(world: str) -> object:
    return loop_for(world)


async def next_change(etcd: Etcd, prefix: str, since: int) -> Batch:
    with anyio.fail_after(30):
        async with etcd.watch(prefix, since=since) as batches:
            async for batch in batches:
                if batch.changes:
                    return batch
    raise AssertionError("the watch ended")


async def test_expiry_deletes_all_keys_of_the_lease_in_one_revision(connect: Connect) -> None:
    etcd, kept = connect(), connect("/kept")
    started = anyio.current_time()
    lease, renewed = await etcd.grant(2), await kept.grant(2)
    await commit(kept, [], [Put("/k", b"", renewed)])
    puts = [Put("/l/b", b"", lease), Put("/l/a", b"", lease), Put("/l/free", b"")]
    revision = await commit(etcd, [], puts)

    async def renew() -> None:
        while True:
            assert await kept.keep_alive(renewed) == 2.0
            await anyio.sleep(0.2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew)
        batch = await next_change(etcd, "/l/", revision + 1)
        tasks.cancel_scope.cancel()
    assert batch.changes == (("/l/a", None), ("/l/b", None))
    assert 1.9 < anyio.current_time() - started < 2 + LATE_SECONDS
    assert await etcd.keep_alive(lease) == 0
    assert not (await etcd.txn([LeaseIs("/l/a", lease)], [])).succeeded
    assert (await etcd.txn([NoneUnder("/l/a")], [])).succeeded
    assert await kept.get("/k") is not None
    with pytest.raises(ConflictError):
        await etcd.txn([], [Put("/late", b"", lease)])
    assert await etcd.get("/late") is None


async def test_revoke_deletes_what_is_still_attached(etcd: Etcd) -> None:
    lease = await etcd.grant(60)
    assert await etcd.keep_alive(lease) == 60.0
    await commit(etcd, [], [Put(f"/l/{n}", b"", lease) for n in "dabc"])
    revision = await commit(etcd, [], [Put("/l/b", b"detached"), Delete("/l/c")])
    await etcd.revoke(lease)
    batch = await next_change(etcd, "/l/", revision + 1)
    assert batch.changes == (("/l/a", None), ("/l/d", None))
    assert [kv.key for kv in (await etcd.range("/l/")).kvs] == ["/l/b"]
    assert await etcd.keep_alive(lease) == 0


async def test_an_unknown_lease_is_gone_and_revoking_it_no_error(etcd: Etcd) -> None:
    lease = await etcd.grant(60)
    await etcd.revoke(lease)
    await etcd.revoke(lease)
    assert await etcd.keep_alive(lease) == 0


async def test_ttls_are_raised_to_two_seconds_and_bounded(etcd: Etcd) -> None:
    lease = await etcd.grant(1)
    assert await etcd.keep_alive(lease) == 2.0
    await etcd.revoke(lease)
    with pytest.raises(BadRequestError):
        await etcd.grant(10**10)

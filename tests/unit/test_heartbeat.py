"""A module's lease and heartbeat: kept, lost, taken over, refused."""

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import psutil
import pytest

from pkg.errors import TransientError
from pkg.etcd.api import (
    AmbiguousError,
    ConflictError,
    Delete,
    Put,
)
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.heartbeat import (
    TTL_SECONDS,
    WELL,
    WRITE_SECONDS,
    DuplicateModuleError,
    Heart,
    LeaseLostError,
    Wellness,
    describer,
    held,
    is_gone,
)
from pkg.model import Endpoints, Heartbeat
from tests.support.virtual import heartbeat, until

pytestmark = pytest.mark.anyio
KEY = "/modules/mixer/m1/heartbeat"


class CountingEtcd(MemoryEtcd):
    """When it was asked to renew, and what each answer costs."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__(store)
        self.renewals: list[float] = []
        self.answer_takes = 0.0
        self.renewal_error: TransientError | None = None

    async def keep_alive(self, lease: int) -> float:
        self.renewals.append(anyio.current_time())
        if self.renewal_error is not None:
            raise self.renewal_error
        left = await super().keep_alive(lease)
        await anyio.sleep(self.answer_takes)
        return left


class Body:
    """A module whose health a test sets."""

    def __init__(self, store: MemoryStore, instance: str = "i1") -> None:
        self.etcd = CountingEtcd(store)
        self.reason: str | None = None
        self.instance = instance
        self.heart = Heart(self.etcd, KEY, self.describe, self.check)

    def describe(self, wellness: Wellness) -> Heartbeat:
        beat = heartbeat(4, wellness.reason, self.instance)
        return beat.model_copy(update={"host": f"host-{self.instance}"})

    async def check(self) -> Wellness:
        return Wellness("unhealthy", self.reason) if self.reason else WELL


@asynccontextmanager
async def beating(body: Body) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(body.heart.run)
        await body.heart.registered.wait()
        yield
        tasks.cancel_scope.cancel()


def stored(store: MemoryStore) -> Heartbeat | None:
    store.expire()
    kv = store.get(KEY)
    return Heartbeat.decode(kv.value) if kv else None


# -- a held lease -------------------------------------------------------------------------


async def test_a_lease_is_renewed_at_a_third_of_its_ttl() -> None:
    etcd = CountingEtcd()
    async with held(etcd, ttl=9):
        await anyio.sleep(90)
    assert len(etcd.renewals) == pytest.approx(30, abs=2)


async def test_a_block_may_raise_what_it_likes() -> None:
    """Not inside a group: whoever holds a lease catches errors by their names."""
    for error in (ConflictError("lost the race"), DuplicateModuleError("two"), KeyError("bug")):
        with pytest.raises(type(error)):
            async with held(MemoryEtcd(), ttl=10):
                raise error


async def test_the_block_ends_no_later_than_the_lease() -> None:
    store, etcd = MemoryStore(), CountingEtcd()
    etcd.store = store
    ended = 0.0
    with pytest.raises(LeaseLostError):
        async with held(etcd, ttl=10) as lease:
            await etcd.txn([], [Put("/k", b"", lease)])
            await anyio.sleep(4)
            accepted = etcd.renewals[-1]
            etcd.outage(down=True)
            try:
                await anyio.sleep_forever()
            finally:
                ended = anyio.current_time()
                store.expire()
                assert store.get("/k") is not None
    assert ended == pytest.approx(accepted + 10, abs=0.01)


async def test_the_deadline_counts_from_when_the_renewal_was_sent() -> None:
    etcd = CountingEtcd()
    with pytest.raises(LeaseLostError):
        async with held(etcd, ttl=10):
            etcd.answer_takes = 3.0
            await anyio.sleep(4)
            sent, etcd.answer_takes = etcd.renewals[-1], 60.0
            try:
                await anyio.sleep_forever()
            finally:
                ended = anyio.current_time()
    assert ended == pytest.approx(sent + 10, abs=0.01)


@pytest.mark.parametrize("error", [ConflictError("no"), AmbiguousError("perhaps")])
async def test_failed_renewals_are_tried_again_without_a_storm(error: TransientError) -> None:
    etcd = CountingEtcd()
    with pytest.raises(LeaseLostError):
        async with held(etcd, ttl=10):
            await anyio.sleep(4)
            etcd.renewals.clear()
            etcd.renewal_error = error
            await anyio.sleep_forever()
    assert 5 <= len(etcd.renewals) <= 40


async def test_a_lease_that_etcd_forgot_is_lost_at_once() -> None:
    etcd = CountingEtcd()
    with pytest.raises(LeaseLostError):
        async with held(etcd, ttl=9):
            etcd.store.expire_leases()
            began = anyio.current_time()
            try:
                await anyio.sleep_forever()
            finally:
                ended = anyio.current_time()
    assert ended - began < 3.1


# -- a heart ------------------------------------------------------------------------------


async def test_health_is_told_when_it_changes_and_else_once_a_minute() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        revision = store.revision
        await anyio.sleep(10 * WRITE_SECONDS)
        assert 8 <= store.revision - revision <= 10
        revision = store.revision
        body.reason = "disk full"
        await anyio.sleep(3)
        found = stored(store)
        assert found is not None
        assert (found.healthy, found.reason, store.revision) == (False, "disk full", revision + 1)
        body.reason = None
        await anyio.sleep(3)
        found = stored(store)
        assert found is not None
        assert found.healthy


async def test_an_outage_shorter_than_the_ttl_goes_unnoticed() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        before = store.get(KEY)
        body.etcd.outage(down=True)
        await anyio.sleep(6)
        body.etcd.outage(down=False)
        await anyio.sleep(40)
        assert store.get(KEY) == before


async def test_health_that_changes_in_an_outage_is_told_after_it() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        body.etcd.outage(down=True)
        body.reason = "disk full"
        await anyio.sleep(6)
        body.etcd.outage(down=False)
        await anyio.sleep(5)
        found = stored(store)
        assert found is not None
        assert found.reason == "disk full"


async def test_a_long_outage_loses_the_key_and_it_comes_back() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        body.etcd.outage(down=True)
        await anyio.sleep(TTL_SECONDS + 1)
        assert stored(store) is None
        await anyio.sleep(600)
        body.etcd.outage(down=False)
        await until(lambda: stored(store) is not None, within=3)
        await anyio.sleep(60)
        assert stored(store) is not None


async def test_leases_that_all_end_at_once_come_back() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        store.expire_leases()
        assert stored(store) is None
        await until(lambda: stored(store) is not None, within=5)


async def test_a_key_that_somebody_deleted_comes_back() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        await MemoryEtcd(store).txn([], [Delete(KEY)])
        await until(lambda: stored(store) is not None, within=5)


async def test_a_key_that_somebody_poisoned_is_ours_again() -> None:
    store = MemoryStore()
    async with beating(Body(store)):
        await until(lambda: stored(store) is not None)
        await MemoryEtcd(store).txn([], [Put(KEY, b"poison")])
        await anyio.sleep(10)
        assert stored(store) is not None


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_lost_answers_do_not_end_the_module(lost: int) -> None:
    store = MemoryStore()
    body = Body(store)
    body.etcd.lose_answers(lost)
    async with beating(body):
        body.etcd.lose_answers(lost)
        body.reason = "ill"
        await anyio.sleep(20)
        found = stored(store)
        assert found is not None
        assert found.reason == "ill"


async def test_what_happens_is_looked_at_at_once() -> None:
    store = MemoryStore()
    body = Body(store)
    async with beating(body):
        body.reason = "Janus is gone"
        body.heart.stir()
        await anyio.sleep(0.01)
        found = stored(store)
        assert found is not None
        assert found.reason == "Janus is gone"


async def test_a_second_module_of_the_same_id_refuses_after_a_ttl() -> None:
    store = MemoryStore()
    first, second = Body(store), Body(store, "i2")
    async with beating(first):
        began = anyio.current_time()
        with pytest.raises(DuplicateModuleError, match=r"pid 1 on host-i1"):
            await second.heart.run()
        assert TTL_SECONDS <= anyio.current_time() - began <= TTL_SECONDS + 4
        found = stored(store)
        assert found is not None
        assert found.instance_id == "i1"


async def test_the_successor_of_a_dead_module_waits_for_its_lease() -> None:
    store = MemoryStore()
    async with beating(Body(store)):
        pass
    assert stored(store) is not None, "a restart within the TTL is nobody's business"
    began = anyio.current_time()
    async with beating(Body(store, "i2")):
        assert anyio.current_time() - began <= TTL_SECONDS + 2
        found = stored(store)
        assert found is not None
        assert found.instance_id == "i2"


async def test_the_successor_of_a_process_proven_dead_does_not_wait() -> None:
    store = MemoryStore()
    describe = describer(4, Endpoints(), "2026-01-01T00:00:00Z", "1")
    dead = describe(WELL).model_copy(update={"instance_id": "old", "pid": 2**22 + 1})
    etcd = MemoryEtcd(store)
    lease = await etcd.grant(TTL_SECONDS)
    await etcd.txn([], [Put(KEY, dead.encode(), lease)])

    async def well() -> Wellness:
        return WELL

    heart = Heart(etcd, KEY, describe, well)
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heart.run)
        await heart.registered.wait()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began < 0.1


def test_only_a_process_of_this_host_can_be_proven_dead() -> None:
    here, me = socket.gethostname(), psutil.Process()
    alive = heartbeat(1).model_copy(
        update={"host": here, "pid": os.getpid(), "pid_started": me.create_time()}
    )
    assert not is_gone(alive, here)
    assert not is_gone(alive.model_copy(update={"pid": 2**22 + 1}), "another")
    assert is_gone(alive.model_copy(update={"pid": 2**22 + 1}), here)
    assert is_gone(alive.model_copy(update={"pid_started": me.create_time() - 100}), here)

"""A module that etcd takes no writes of takes no new work, ends nothing, and comes back."""

from collections.abc import Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from pkg.errors import OnairError
from pkg.etcd.api import AccessError, Compare, Op, StorageFullError, TxnResult
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.heartbeat import TTL_SECONDS, WELL, WRITE_SECONDS, Heart, Wellness, describer, worst
from pkg.model import Endpoints, Heartbeat
from tests.support.virtual import until

pytestmark = pytest.mark.anyio
KEY = "/modules/mixer/m1/heartbeat"
BUSY, ILL = Wellness("busy", "no port is free"), Wellness("unhealthy", "the disk is full")


class ReadOnlyEtcd(MemoryEtcd):
    """Renews leases and answers reads, and may refuse all else. ``tried``: grants of leases."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.refusal: OnairError | None = None
        self.renewal_refusal: OnairError | None = None
        self.granted = 0

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if self.refusal is not None and then:
            raise self.refusal
        return await super().txn(compares, then, otherwise)

    async def grant(self, ttl: int) -> int:
        self.granted += 1
        return await super().grant(ttl)

    async def keep_alive(self, lease: int) -> float:
        if self.renewal_refusal is not None:
            raise self.renewal_refusal
        return await super().keep_alive(lease)


class Module:
    def __init__(self) -> None:
        self.etcd = ReadOnlyEtcd(MemoryStore())
        self.wellness = WELL
        describe = describer(4, Endpoints(), "2026-01-01T00:00:00Z", "1")
        self.heart = Heart(self.etcd, KEY, describe, self.check)

    async def check(self) -> Wellness:
        return self.wellness

    def stored(self) -> Heartbeat | None:
        self.etcd.store.expire()
        kv = self.etcd.store.get(KEY)
        return Heartbeat.decode(kv.value) if kv else None

    def is_gone(self) -> bool:
        return self.stored() is None


@pytest.mark.parametrize("error", [StorageFullError("NOSPACE"), AccessError("read only")])
async def test_one_whose_writes_are_refused_lets_go_and_comes_back(error: OnairError) -> None:
    module = Module()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module.heart.run)
        await module.heart.registered.wait()
        module.etcd.refusal, module.etcd.granted = error, 0
        await until(module.is_gone, within=WRITE_SECONDS + 2 * TTL_SECONDS + 5)
        await anyio.sleep(600)
        assert module.is_gone()
        assert module.etcd.granted <= 130, "each try costs etcd a lease"
        module.etcd.refusal = None
        await until(lambda: not module.is_gone(), within=6)
        await anyio.sleep(10 * WRITE_SECONDS)
        assert not module.is_gone()
        tasks.cancel_scope.cancel()


async def test_a_refusal_shorter_than_the_ttl_goes_unnoticed() -> None:
    module = Module()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module.heart.run)
        await module.heart.registered.wait()
        module.etcd.granted, module.wellness = 0, BUSY
        module.etcd.refusal = StorageFullError("NOSPACE")
        await anyio.sleep(TTL_SECONDS - 3)
        module.etcd.refusal = None
        await until(lambda: (s := module.stored()) is not None and s.status == "busy", within=3)
        await anyio.sleep(60)
        assert module.etcd.granted == 0
        tasks.cancel_scope.cancel()


async def test_a_password_that_is_taken_back_ends_nothing() -> None:
    module = Module()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module.heart.run)
        await module.heart.registered.wait()
        module.etcd.renewal_refusal = module.etcd.refusal = AccessError("wrong password")
        await until(module.is_gone, within=2 * TTL_SECONDS)
        await anyio.sleep(60)
        module.etcd.renewal_refusal = module.etcd.refusal = None
        await until(lambda: not module.is_gone(), within=6)
        tasks.cancel_scope.cancel()


async def test_a_renewal_that_is_refused_for_a_moment_is_tried_again() -> None:
    module = Module()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module.heart.run)
        await module.heart.registered.wait()
        module.etcd.granted = 0
        module.etcd.renewal_refusal = AccessError("user database is being changed")
        await anyio.sleep(TTL_SECONDS / 2)
        module.etcd.renewal_refusal = None
        await anyio.sleep(60)
        assert module.etcd.granted == 0, "the lease was never lost"
        tasks.cancel_scope.cancel()


async def test_a_wrong_password_at_the_start_ends_the_start() -> None:
    module = Module()
    module.etcd.refusal = AccessError("wrong password")
    with pytest.raises(AccessError):
        await module.heart.run()


@pytest.mark.parametrize("wellness", [WELL, BUSY, ILL])
async def test_what_is_found_is_told(wellness: Wellness) -> None:
    module = Module()
    module.wellness = wellness
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module.heart.run)
        await module.heart.registered.wait()
        told = module.stored()
        assert told is not None
        assert (told.status, told.reason) == (wellness.status, wellness.reason)
        assert (told.healthy, told.ill) == (wellness is WELL, wellness is ILL)
        tasks.cancel_scope.cancel()


def test_the_worst_is_told() -> None:
    assert worst(WELL, BUSY) is BUSY
    assert worst(BUSY, ILL, WELL) is ILL
    assert worst() is WELL


async def test_an_outage_of_etcd_is_logged_once_a_minute_and_when_it_is_over() -> None:
    module = Module()
    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(module.heart.run)
            await module.heart.registered.wait()
            module.etcd.outage(down=True)
            await anyio.sleep(TTL_SECONDS + 170)
            module.etcd.outage(down=False)
            await until(lambda: not module.is_gone())
            tasks.cancel_scope.cancel()
    events = [line["event"] for line in logs]
    assert events.count("lease.renewal_failed") == 1
    assert [event for event in events if event in {"heartbeat.lost", "heartbeat.recovered"}] == [
        *["heartbeat.lost"] * 3,
        "heartbeat.recovered",
    ]

"""What changes between the decision to move a room and its transaction (I2, I3, I4)."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Compare, Op, TxnResult
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Desired, Kind, LiveMeta, Mark
from roommanager.verdict import Answer
from tests.support.stage import Stage
from tests.support.virtual import (
    BLUE,
    M1,
    M2,
    FakeProber,
    Modules,
    heartbeat,
    live_of,
    manager,
    mark,
    put,
    until,
)

pytestmark = pytest.mark.anyio


class AtCommit(MemoryEtcd):
    """Something happens right before a transaction that takes a place."""

    before: Callable[[], Awaitable[object]] | None = None

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if len(compares) > 4 and self.before is not None:
            first, self.before = self.before, None
            await first()
        return await super().txn(compares, then, otherwise)


@asynccontextmanager
async def dying() -> AsyncGenerator[tuple[Stage, AtCommit, LiveMeta]]:
    """Blue is on air on m1, which is about to be called dead; m2 could take it."""
    store = MemoryStore()
    modules, prober, etcd = Modules(store), FakeProber(), AtCommit(store)
    await modules.register_all()
    async with (
        manager(store, prober=prober, etcd=etcd) as one,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        on = Stage(one, modules, prober)
        await on.start(BLUE)
        await modules.register(Kind.MIXER, M2, 5)
        yield on, etcd, live_of(store)
        tasks.cancel_scope.cancel()


async def test_it_comes_back() -> None:
    async with dying() as (on, etcd, before):
        etcd.before = lambda: on.modules.register(Kind.MIXER, M1, 20)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: etcd.before is None)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        assert on.slots(Kind.MIXER, M1) == 1


@pytest.mark.parametrize("word", ["drained", "ill"])
async def test_the_one_that_was_chosen_takes_no_rooms_any_more(word: str) -> None:
    async with dying() as (on, etcd, before):
        plain = on.modules.etcd
        ill = keys.heartbeat(Kind.MIXER, M2), heartbeat(5, "disk full")
        etcd.before = (
            (lambda: mark(plain, Kind.MIXER, M2, Mark.DRAINING))
            if word == "drained"
            else (lambda: put(plain, *ill))
        )
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: etcd.before is None)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        assert (on.slots(Kind.MIXER, M1), on.slots(Kind.MIXER, M2)) == (1, 0)


async def test_the_room_is_stopped() -> None:
    async with dying() as (on, etcd, before):
        stopping = before.model_copy(update={"status": Desired.STOPPING})
        key = keys.room(BLUE, "livemeta")
        etcd.before = lambda: put(on.modules.etcd, key, stopping)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on.store.get(key) is None, within=2)
        assert (on.slots(Kind.MIXER, M1), on.slots(Kind.MIXER, M2)) == (0, 0)


async def test_an_end_waits_for_one_that_comes_back() -> None:
    async with dying() as (on, etcd, _):
        on.modules.stuck.add(M1)
        await on.one.wishes.delete(BLUE)
        etcd.before = lambda: on.modules.register(Kind.MIXER, M1, 20)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: etcd.before is None)
        await anyio.sleep(60)
        assert live_of(on.store).status is Desired.REMOVING
        assert on.slots(Kind.MIXER, M1) == 1

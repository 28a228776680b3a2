"""Who sweeps, what he believes, and what he says."""

import random

import anyio
import pytest
import structlog

from pkg import keys
from pkg.etcd.memory import MemoryStore
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Epoch, Kind, RoomId, Slot
from pkg.workqueue import WorkQueue
from roommanager.findings import Finding, OrphanState
from roommanager.housekeeping import SWEEP_SECONDS, Belief, enqueue, look
from tests.support.keeping import house, keep_house
from tests.support.virtual import BLUE, M1, Manager, manager, put, until

pytestmark = pytest.mark.anyio
STRAY = "/rooms/blue/mixer"
SOON = 3 * SWEEP_SECONDS + 5


def orphan(revision: int) -> Finding:
    return OrphanState(RoomId("blue"), "mixer", revision, 0, 0)


def test_two_sweeps_in_a_row_must_find_the_same() -> None:
    belief = Belief()
    one, two = orphan(1), orphan(2)
    assert belief.take(frozenset([one])) == frozenset()
    assert belief.take(frozenset([two])) == frozenset(), "it was written meanwhile"
    assert belief.take(frozenset()) == frozenset()
    assert belief.take(frozenset([two])) == frozenset()
    assert belief.take(frozenset([one, two])) == {two}
    assert belief.take(frozenset([one, two])) == {one}, "two is believed already"
    assert belief.held == {one, two}


async def test_every_room_that_is_not_idle_is_looked_at_again() -> None:
    async with house() as it:
        await it.on_air("blue")
        await it.manager.wishes.create(RoomId("red"), None, {})
        await anyio.sleep(1)
        queue: WorkQueue[str] = WorkQueue(random.Random(1))
        enqueue(it.manager.view, queue)
        assert len(queue) == 1
        assert await queue.get() == BLUE


async def test_nothing_is_believed_from_a_copy_that_may_be_old() -> None:
    async with house() as it:
        await it.write(STRAY, b"{}")
        await anyio.sleep(SWEEP_SECONDS + 5)
        assert look(it.manager.view)
        it.manager.etcd.outage(down=True)
        await until(lambda: it.manager.view.informer.broken_since is not None)
        assert look(it.manager.view) == frozenset()


async def test_what_does_not_end_is_told_once() -> None:
    async with house() as it:
        await it.on_air("blue")
        it.modules.stuck.add(M1)
        await it.manager.wishes.delete(BLUE)
        with structlog.testing.capture_logs() as logs:
            await anyio.sleep(10 * SWEEP_SECONDS)
        told = [entry for entry in logs if entry["event"] == "room.stuck"]
        assert [entry["waits_for"] for entry in told] == [("mixer m1",)]


async def test_a_leak_that_is_its_modules_to_mend_is_told_once() -> None:
    async with house() as it:
        it.modules.stuck.add(M1)
        await put(it.modules.etcd, keys.slot(Kind.MIXER, M1, 2), Slot(room_id=BLUE, epoch=Epoch(2)))
        with structlog.testing.capture_logs() as logs:
            await anyio.sleep(10 * SWEEP_SECONDS)
        told = [entry["key"] for entry in logs if entry["event"] == "slot.leaked"]
        assert told == ["/modules/mixer/m1/slots/2"]


async def _strays_go(store: MemoryStore, one: Manager, within: float) -> None:
    await put(one.etcd, STRAY, Slot(room_id=BLUE, epoch=Epoch(2)))
    await until(lambda: store.get(STRAY) is None, within=within)


async def test_one_of_two_keeps_house_and_the_other_after_it() -> None:
    store = MemoryStore()
    async with (
        manager(store) as one,
        manager(store, seed=2) as two,
        anyio.create_task_group() as first,
        anyio.create_task_group() as second,
    ):
        first.start_soon(keep_house, one, [])
        await until(lambda: store.get(keys.leader("housekeeping")) is not None)
        second.start_soon(keep_house, two, [])
        with structlog.testing.capture_logs() as logs:
            await _strays_go(store, one, within=SOON)
        sweeps = [entry for entry in logs if entry["event"] == "housekeeping.swept"]
        assert len(sweeps) <= 3
        one.etcd.outage(down=True)
        await _strays_go(store, two, within=SOON + TTL_SECONDS)
        first.cancel_scope.cancel()
        second.cancel_scope.cancel()


async def test_a_mender_that_is_not_elected_any_more_writes_nothing() -> None:
    """Its compares hold; its term does not."""
    async with house() as it:
        await it.write(STRAY, b"{}")
        await anyio.sleep(1.5 * SWEEP_SECONDS)
        it.store.expire_leases()
        await anyio.sleep(SWEEP_SECONDS)
        assert it.store.get(STRAY) is not None, "a new term begins with nothing seen"
        await until(lambda: it.store.get(STRAY) is None, within=SOON)

"""The room manager's verbs, on etcd in memory, with two managers at once (I2, I3, I8, I13)."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.errors import TransientError
from pkg.etcd.api import AmbiguousError, Batch, Compare, Delete, Op, TxnResult
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Desired, Epoch, Kind, Mark, RoomId, Slot
from roommanager.allocator import NoCapacityError
from roommanager.wishes import (
    RoomExistsError,
    RoomNotFoundError,
    RoomRemovingError,
    StillStoppingError,
)
from tests.support.virtual import (
    BLUE,
    J1,
    M1,
    M2,
    Manager,
    Modules,
    live_of,
    manager,
    mark,
    put,
    seen,
    stored,
    until,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def stage(
    capacity: int = 20, *, slow: float = 0.0
) -> AsyncGenerator[tuple[Manager, Modules]]:
    """One manager, one Janus, one mixer; room blue exists."""
    store = MemoryStore()
    modules = Modules(store, slow_seconds=slow)
    await modules.register_all(capacity)
    async with manager(store) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(modules.run)
        await one.wishes.create(BLUE, None, {})
        await seen(one)
        yield one, modules
        tasks.cancel_scope.cancel()


async def idle(one: Manager, room_id: RoomId = BLUE) -> None:
    """Wait until the room is stopped or gone."""
    store = one.etcd.store
    await until(lambda: store.get(keys.room(room_id, "livemeta")) is None, within=30)
    await seen(one)


async def test_200_starts_at_two_managers_for_20_places() -> None:
    store = MemoryStore()
    modules = Modules(store)
    await modules.register_all(20)
    placed: list[RoomId] = []
    refused: list[NoCapacityError] = []

    async def start(one: Manager, room_id: RoomId) -> None:
        try:
            await one.wishes.start(room_id)
            placed.append(room_id)
        except NoCapacityError as error:
            refused.append(error)

    rooms = [RoomId(f"r{n}") for n in range(200)]
    async with manager(store) as one, manager(store, seed=2) as two:
        async with anyio.create_task_group() as tasks:
            for room_id in rooms:
                tasks.start_soon(one.wishes.create, room_id, None, {})
        async with anyio.create_task_group() as tasks:
            for n, room_id in enumerate(rooms):
                tasks.start_soon(start, (one, two)[n % 2], room_id)
        assert (len(placed), len(refused)) == (20, 180)
        for error in refused:
            assert set(error.refused) == {Kind.JANUS, Kind.MIXER}
            assert set(error.refused[Kind.JANUS]) == {J1}
            assert set(error.refused[Kind.MIXER]) == {M1}
        for kind, module_id in ((Kind.JANUS, J1), (Kind.MIXER, M1)):
            slots = stored(store, keys.slots_prefix(kind, module_id))
            assert sorted(slots) == sorted(keys.slot(kind, module_id, n) for n in range(20))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(modules.run)
            for n, room_id in enumerate(rooms):
                await (one, two)[n % 2].wishes.delete(room_id)
            await until(lambda: not stored(store, keys.ROOMS), within=60)
            tasks.cancel_scope.cancel()
    assert stored(store, "/") == [
        keys.heartbeat(k, m) for k, m in ((Kind.JANUS, J1), (Kind.MIXER, M1))
    ]


async def test_repeated_calls_change_nothing() -> None:
    async with stage() as (one, modules):
        store = modules.store
        first = await one.wishes.start(BLUE)
        await until(lambda: live_of(store).on_air_at is not None)
        revision = store.revision
        again = await one.wishes.start(BLUE)
        assert (again.live, store.revision) == (live_of(store), revision)
        assert first.live is not None
        assert again.live is not None
        assert again.live.epoch == first.live.epoch
        await one.wishes.stop(BLUE)
        await idle(one)
        revision = store.revision
        assert (await one.wishes.stop(BLUE)).live is None
        assert store.revision == revision
        with pytest.raises(RoomExistsError):
            await one.wishes.create(BLUE, None, {})
        await one.wishes.delete(BLUE)
        for verb in (one.wishes.delete, one.wishes.stop, one.wishes.start, one.wishes.read):
            with pytest.raises(RoomNotFoundError):
                await verb(BLUE)


async def test_a_lost_answer_to_create_is_read_back() -> None:
    async with stage() as (one, modules):
        one.etcd.lose_answers(1)
        made = await one.wishes.create(RoomId("red"), None, {"a": 1})
        assert made.meta is not None
        kv = modules.store.get(keys.room(RoomId("red"), "meta"))
        assert kv is not None
        assert (kv.version, made.meta_revision) == (1, kv.mod_revision)


async def test_a_lost_answer_to_start_takes_no_second_place() -> None:
    async with stage() as (one, modules):
        one.etcd.lose_answers(1)
        facts = await one.wishes.start(BLUE)
        assert facts.live is not None
        assert live_of(modules.store).epoch == facts.live.epoch
        assert len(stored(modules.store, keys.slots_prefix(Kind.MIXER, M1))) == 1
        assert len(stored(modules.store, keys.slots_prefix(Kind.JANUS, J1))) == 1


@pytest.mark.parametrize("verb", ["stop", "delete"])
async def test_a_lost_answer_to_an_end_is_read_back(verb: str) -> None:
    async with stage(slow=1.0) as (one, modules):
        await one.wishes.start(BLUE)
        one.etcd.lose_answers(1)
        facts = await getattr(one.wishes, verb)(BLUE)
        assert facts.live is not None
        wanted = Desired.STOPPING if verb == "stop" else Desired.REMOVING
        assert facts.live.status is live_of(modules.store).status is wanted


async def test_a_lost_answer_to_delete_of_an_idle_room_is_no_404() -> None:
    async with stage() as (one, modules):
        one.etcd.lose_answers(1)
        assert (await one.wishes.delete(BLUE)).room_id == BLUE
        assert stored(modules.store, keys.ROOMS) == []


async def test_a_lost_answer_to_delete_of_a_room_that_ends_at_once_is_no_404() -> None:
    """By the time it is read back, everything has ended already: the caller did delete it."""
    store = MemoryStore()
    modules = Modules(store)
    await modules.register_all()
    slow = MemoryEtcd(store, latency=1.0)
    async with (
        manager(store),
        manager(store, seed=2, control=False, etcd=slow) as one,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        await one.wishes.create(BLUE, None, {})
        await one.wishes.start(BLUE)
        await until(lambda: live_of(store).on_air_at is not None)
        slow.lose_answers(1)
        facts = await one.wishes.delete(BLUE)
        assert stored(store, keys.ROOMS) == [], "the test needs the end to come before the answer"
        assert facts.live is not None
        assert facts.live.status is Desired.REMOVING
        tasks.cancel_scope.cancel()


async def test_create_beside_a_delete_never_says_not_found() -> None:
    store = MemoryStore()
    slow = MemoryEtcd(store, latency=1.0)
    async with (
        manager(store) as one,
        manager(store, control=False, etcd=slow) as two,
        anyio.create_task_group() as tasks,
    ):
        await one.wishes.create(BLUE, None, {})

        async def delete_between() -> None:
            await anyio.sleep(1.5)
            await one.wishes.delete(BLUE)

        tasks.start_soon(delete_between)
        assert (await two.wishes.create(BLUE, None, {})).room_id == BLUE


async def test_an_answer_lost_and_never_applied_is_not_acknowledged() -> None:
    class Swallowing(MemoryEtcd):
        """Says "perhaps", and means no."""

        async def txn(
            self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
        ) -> TxnResult:
            raise AmbiguousError("lost on the way")

    store = MemoryStore()
    async with manager(store, control=False, etcd=Swallowing(store)) as one:
        with pytest.raises(TransientError):
            await one.wishes.create(BLUE, None, {})


async def test_epochs_rise_over_stop_and_over_delete() -> None:
    async with stage() as (one, modules):
        epochs = []
        for end in ("stop", "stop", "delete", "delete"):
            facts = await one.wishes.start(BLUE)
            assert facts.live is not None
            epochs.append(facts.live.epoch)
            await getattr(one.wishes, end)(BLUE)
            await idle(one)
            if end == "delete":
                await one.wishes.create(BLUE, None, {})
        assert epochs == sorted(set(epochs))
        assert modules.store.revision > epochs[-1]


class LateEtcd(MemoryEtcd):
    """What its watches show is ``lag`` seconds old."""

    lag = 0.0

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        async with (
            super().watch(prefix, since=since) as batches,
            aclosing(self._late(batches)) as late,
        ):
            yield late

    async def _late(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch]:
        async for batch in batches:
            await anyio.sleep(self.lag)
            yield batch


@pytest.mark.parametrize("end", ["stop", "delete"])
async def test_epochs_rise_on_a_stale_copy_too(end: str) -> None:
    async with stage() as (one, modules):
        late = LateEtcd(modules.store)
        async with manager(modules.store, seed=2, control=False, etcd=late) as two:
            late.lag = 30.0  # from now on its copy shows an idle room
            first = await one.wishes.start(BLUE)
            await getattr(one.wishes, end)(BLUE)
            await idle(one)
            if end == "delete":
                await one.wishes.create(BLUE, None, {})
            before = modules.store.revision
            assert two.view.revision < before
            second = await two.wishes.start(BLUE)
            assert first.live is not None
            assert second.live is not None
            assert second.live.epoch > first.live.epoch
            assert second.live.epoch >= before


async def test_a_start_waits_for_the_stop_before_it() -> None:
    async with stage(slow=2.0) as (one, modules):
        first = await one.wishes.start(BLUE)
        await until(lambda: live_of(modules.store).on_air_at is not None, within=20)
        await one.wishes.stop(BLUE)
        second = await one.wishes.start(BLUE)
        assert first.live is not None
        assert second.live is not None
        assert second.live.epoch > first.live.epoch
        assert live_of(modules.store).status is Desired.ONAIR


async def test_a_start_does_not_wait_for_ever_for_a_stop() -> None:
    async with stage() as (one, modules):
        await one.wishes.start(BLUE)
        modules.stuck.add(M1)
        await one.wishes.stop(BLUE)
        began = anyio.current_time()
        with pytest.raises(StillStoppingError):
            await one.wishes.start(BLUE)
        assert anyio.current_time() - began == pytest.approx(15, abs=1)


async def test_delete_beside_start_leaves_nothing() -> None:
    async with stage() as (one, modules):
        store = modules.store

        async def start() -> None:
            try:
                await one.wishes.start(BLUE)
            except (RoomRemovingError, RoomNotFoundError):
                return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            tasks.start_soon(one.wishes.delete, BLUE)
        await until(lambda: not stored(store, keys.ROOMS))
        await until(lambda: not stored(store, keys.slots_prefix(Kind.MIXER, M1)))
        assert not stored(store, keys.slots_prefix(Kind.JANUS, J1))


async def test_starting_and_stopping_a_room_that_is_removed_is_refused() -> None:
    async with stage() as (one, modules):
        await one.wishes.start(BLUE)
        modules.stuck.add(M1)
        await one.wishes.delete(BLUE)
        facts = await one.wishes.delete(BLUE)
        assert facts.live is not None
        assert facts.live.status is Desired.REMOVING
        for verb in (one.wishes.start, one.wishes.stop):
            with pytest.raises(RoomRemovingError):
                await verb(BLUE)


async def test_a_delete_on_a_stale_copy_leaves_no_after_life() -> None:
    """Else whoever takes the id next would offer the old room's sound (I7, I11)."""
    async with stage() as (one, modules):
        late = LateEtcd(modules.store)
        async with manager(modules.store, seed=2, control=False, etcd=late) as two:
            late.lag = 5.0
            await one.wishes.start(BLUE)
            await until(lambda: live_of(modules.store).on_air_at is not None)
            await one.wishes.stop(BLUE)
            await idle(one)
            assert stored(modules.store, keys.ENDED) == [keys.ended(M1, BLUE)]
            await two.wishes.delete(BLUE)
            assert stored(modules.store, "/rooms/") == []
            assert stored(modules.store, keys.ENDED) == []


class AtCommit(MemoryEtcd):
    """Something happens between the choice and its transaction."""

    before = ""

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if len(compares) > 2 and self.before:
            word, self.before, plain = self.before, "", MemoryEtcd(self.store)
            if word == "drain":
                await mark(plain, Kind.MIXER, M1, Mark.DRAINING)
            else:
                await plain.txn([], [Delete(keys.heartbeat(Kind.MIXER, M1))])
        return await super().txn(compares, then, otherwise)


@pytest.mark.parametrize("word", ["drain", "die"])
async def test_nothing_lands_on_a_mixer_that_drained_or_died_meanwhile(word: str) -> None:
    store = MemoryStore()
    modules, etcd = Modules(store), AtCommit(store)
    await modules.register_all()
    async with manager(store, etcd=etcd) as one:
        await one.wishes.create(BLUE, None, {})
        etcd.before = word
        with pytest.raises(NoCapacityError):
            await one.wishes.start(BLUE)
        assert not etcd.before
        await modules.register(Kind.MIXER, M2, 1)
        facts = await one.wishes.start(BLUE)
        assert facts.live is not None
        assert facts.live.mixer_id == M2
        assert stored(store, keys.slots_prefix(Kind.MIXER, M1)) == []


async def test_nobody_is_refused_on_an_old_copy() -> None:
    store = MemoryStore()
    modules, late = Modules(store), LateEtcd(store)
    await modules.register_all(1)
    full = Slot(room_id=RoomId("other"), epoch=Epoch(1))
    await put(modules.etcd, keys.slot(Kind.MIXER, M1, 0), full)
    async with manager(store, etcd=late) as one:
        await one.wishes.create(BLUE, None, {})
        await seen(one)
        late.lag = 30.0
        await modules.etcd.txn([], [Delete(keys.slot(Kind.MIXER, M1, 0))])
        assert (await one.wishes.start(BLUE)).live is not None

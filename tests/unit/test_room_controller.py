"""The room manager finishes what modules have ended, and only then (I7, I8, I14)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Desired, Ended, Epoch, Kind, RoomId
from tests.support.keeping import keep_house
from tests.support.virtual import (
    BLUE,
    J1,
    M1,
    M2,
    Manager,
    Modules,
    live_of,
    manager,
    put,
    seen,
    stored,
    until,
)

pytestmark = pytest.mark.anyio
RED = RoomId("red")
ENDED = keys.ended(M1, BLUE)


@asynccontextmanager
async def on_air(managers: int = 1) -> AsyncGenerator[tuple[Manager, Modules]]:
    """Blue and red are on air; a second manager watches, if asked for."""
    store = MemoryStore()
    modules = Modules(store)
    await modules.register_all()
    async with (
        manager(store) as one,
        manager(store, seed=2, control=managers > 1),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        tasks.start_soon(keep_house, one, [])
        for room_id in (BLUE, RED):
            await one.wishes.create(room_id, None, {})
            await one.wishes.start(room_id)
        await until(lambda: all(live_of(store, r).on_air_at for r in (BLUE, RED)))
        yield one, modules
        tasks.cancel_scope.cancel()


def has(store: MemoryStore, key: str) -> bool:
    store.expire()
    return store.get(key) is not None


@pytest.mark.parametrize("managers", [1, 2])
async def test_on_air_is_written_once_and_then_nothing_more(managers: int) -> None:
    async with on_air(managers) as (_, modules):
        await anyio.sleep(1)
        revision = modules.store.revision
        await anyio.sleep(600)
        assert modules.store.revision == revision


@pytest.mark.parametrize("managers", [1, 2])
async def test_after_a_stop_the_last_playlist_is_kept_for_a_minute(managers: int) -> None:
    async with on_air(managers) as (one, modules):
        store, epoch = modules.store, live_of(modules.store).mixer_epoch
        await one.wishes.stop(BLUE)
        await until(lambda: not has(store, keys.room(BLUE, "livemeta")))
        assert stored(store, keys.room_prefix(BLUE)) == [keys.room(BLUE, "meta")]
        kv = store.get(ENDED)
        assert kv is not None
        ended = Ended.decode(kv.value)
        assert (ended.epoch, ended.mixer_id, ended.origin) == (epoch, M1, "http://origin")
        await anyio.sleep(58)
        assert has(store, ENDED)
        assert one.view.ended(BLUE) == ended
        await anyio.sleep(3)
        assert not has(store, ENDED)
        await seen(one)
        assert one.view.ended(BLUE) is None
        assert stored(store, keys.room_prefix(RED)), "red is not concerned"


async def test_a_room_that_never_was_on_air_leaves_no_playlist() -> None:
    async with on_air() as (one, modules):
        other = RoomId("green")
        modules.stuck |= {J1, M1}
        await one.wishes.create(other, None, {})
        await one.wishes.start(other)
        await one.wishes.stop(other)
        modules.stuck.clear()
        modules.store.wake()
        await until(lambda: not has(modules.store, keys.room(other, "livemeta")))
        assert not has(modules.store, keys.ended(M1, other))


async def test_deleting_ends_an_after_life_too() -> None:
    async with on_air() as (one, modules):
        await one.wishes.stop(BLUE)
        await until(lambda: has(modules.store, ENDED))
        await seen(one)
        await one.wishes.delete(BLUE)
        assert not has(modules.store, ENDED)
        assert stored(modules.store, keys.room_prefix(BLUE)) == []


async def test_deleting_ends_every_after_life_the_room_has() -> None:
    """It was stopped twice within a minute, on two mixers."""
    async with on_air() as (one, modules):
        await one.wishes.stop(BLUE)
        await until(lambda: has(modules.store, ENDED))
        newer = Ended(room_id=BLUE, mixer_id=M2, epoch=Epoch(9**9), nonce="n", origin="http://2")
        await put(modules.etcd, keys.ended(M2, BLUE), newer)
        await seen(one)
        assert one.view.ended(BLUE) == newer
        await one.wishes.delete(BLUE)
        assert stored(modules.store, keys.ENDED) == []


async def test_of_two_after_lives_the_newer_counts_whatever_was_listed_first() -> None:
    store = MemoryStore()
    etcd = MemoryEtcd(store)
    for mixer, epoch in ((M1, 9), (M2, 5)):
        ended = Ended(room_id=BLUE, mixer_id=mixer, epoch=Epoch(epoch), nonce="n", origin="")
        await put(etcd, keys.ended(mixer, BLUE), ended)
    async with manager(store) as one:
        found = one.view.ended(BLUE)
        assert found is not None
        assert found.epoch == 9
        await etcd.txn([], [Delete(keys.ended(M1, BLUE))])
        await seen(one)
        found = one.view.ended(BLUE)
        assert found is not None
        assert found.epoch == 5


@pytest.mark.parametrize("stuck", [M1, J1])
async def test_a_module_that_does_not_end_its_part_holds_the_room_and_only_that(
    stuck: str,
) -> None:
    async with on_air() as (one, modules):
        store = modules.store
        modules.stuck.add(M1 if stuck == M1 else J1)
        await one.wishes.delete(BLUE)
        await anyio.sleep(300)
        assert live_of(store).status is Desired.REMOVING
        assert not has(store, ENDED)
        modules.stuck.clear()
        store.wake()
        await until(lambda: not stored(store, keys.room_prefix(BLUE)))
        assert stored(store, keys.room_prefix(RED))


async def test_the_room_waits_for_the_slot_even_if_the_report_is_gone() -> None:
    """The observed key may never have been written; the slot says that it may still run."""
    async with on_air() as (one, modules):
        store = modules.store
        modules.stuck.add(M1)
        await one.wishes.stop(BLUE)
        await modules.etcd.txn([], [Delete(keys.room(BLUE, "mixer"))])
        await anyio.sleep(120)
        assert live_of(store).status is Desired.STOPPING
        slot = keys.slot(Kind.MIXER, M1, live_of(store).mixer_slot)
        await modules.etcd.txn([], [Delete(slot)])
        await until(lambda: not has(store, keys.room(BLUE, "livemeta")), within=2)


async def test_an_unreadable_wish_concerns_its_room_only() -> None:
    async with on_air() as (one, modules):
        await modules.etcd.txn([], [Put(keys.room(BLUE, "livemeta"), b"{")])
        await anyio.sleep(100)
        await one.wishes.stop(RED)
        await until(lambda: not has(modules.store, keys.room(RED, "livemeta")))
        assert has(modules.store, keys.room(BLUE, "janus"))


async def test_lost_answers_make_no_second_after_life() -> None:
    async with on_air() as (one, modules):
        one.etcd.lose_answers(3)
        await one.wishes.stop(BLUE)
        await until(lambda: has(modules.store, ENDED))
        assert stored(modules.store, keys.room_prefix(BLUE)) == [keys.room(BLUE, "meta")]
        await anyio.sleep(61)
        assert not has(modules.store, ENDED)

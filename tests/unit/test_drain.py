"""Draining: a mixer's rooms move one by one, each on air before it is left (I2, I14)."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import Kind, LiveMeta, Mark, MarkRecord, RoomId
from roommanager.housekeeping import enqueue
from roommanager.plan import OLD_WINDOW_SECONDS
from roommanager.status import RoomStatus
from roommanager.verdict import Answer
from tests.support.stage import Stage, stage
from tests.support.virtual import J1, J2, M1, M2, live_of, mark, put, seen, until

pytestmark = pytest.mark.anyio
TEN = [RoomId(f"r{n}") for n in range(10)]
FIRST = TEN[0]


@asynccontextmanager
async def ten_on_m1(capacity_of_m2: int = 20, managers: int = 1) -> AsyncGenerator[Stage]:
    async with stage({M1: 12}, managers=managers) as on:
        await on.start(*TEN)
        await on.modules.register(Kind.MIXER, M2, capacity_of_m2)
        await seen(on.one)
        yield on


def lives(on: Stage) -> list[LiveMeta]:
    return [live_of(on.store, room_id) for room_id in TEN]


def on_mixer(on: Stage) -> Counter[str]:
    return Counter(live.mixer_id for live in lives(on))


class Watcher:
    """Looks at each revision: how many rooms are off air, and who left in which order."""

    def __init__(self, on: Stage) -> None:
        self._on = on
        self.off_air = 0
        self.order: list[RoomId] = []

    async def run(self) -> None:
        while True:
            changed = self._on.store.changed
            await seen(self._on.one)
            moving = [r for r in TEN if self._on.status(r) is not RoomStatus.ONAIR]
            self.off_air = max(self.off_air, len(moving))
            self.order += [
                live.room_id
                for live in lives(self._on)
                if live.mixer_id == M2 and live.room_id not in self.order
            ]
            await changed.wait()


@pytest.mark.parametrize("managers", [1, 2])
async def test_ten_rooms_leave_one_by_one_and_none_is_left_before_it_is_on_air(
    managers: int,
) -> None:
    async with ten_on_m1(managers=managers) as on, anyio.create_task_group() as tasks:
        watcher, before = Watcher(on), lives(on)
        on.modules.slow_seconds = 0.5  # a mixer takes its time to publish
        tasks.start_soon(watcher.run)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: on_mixer(on) == {M2: 10}, within=30)
        assert (watcher.order, watcher.off_air) == (TEN, 1)
        for old, new in zip(before, lives(on), strict=True):
            assert new.previous is not None
            assert (new.previous.mixer_id, new.previous.epoch) == (M1, old.mixer_epoch)
            assert new.previous.slot == old.mixer_slot
            assert new.previous.endpoints.origin == "http://origin"
            assert (new.seams, new.nonce) == (1, old.nonce)
        assert (on.slots(Kind.MIXER, M1), on.slots(Kind.MIXER, M2)) == (10, 10)
        await anyio.sleep(OLD_WINDOW_SECONDS + 5)
        assert all(live.previous is None for live in lives(on))
        await until(lambda: on.slots(Kind.MIXER, M1) == 0)
        revision = on.store.revision
        await anyio.sleep(300)
        assert on.store.revision == revision
        tasks.cancel_scope.cancel()


async def test_ready_takes_it_back_half_way() -> None:
    async with ten_on_m1() as on:
        on.modules.slow_seconds = 0.5
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: on_mixer(on)[M2] == 5, within=30)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.READY)
        await anyio.sleep(120)
        assert on_mixer(on) == {M1: 5, M2: 5}
        assert all(live.previous is None for live in lives(on))
        assert (on.slots(Kind.MIXER, M1), on.slots(Kind.MIXER, M2)) == (5, 5)
        assert all(on.status(r) is RoomStatus.ONAIR for r in TEN)


async def test_who_finds_no_place_waits_until_there_is_one() -> None:
    async with ten_on_m1(capacity_of_m2=4) as on:
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await anyio.sleep(100)
        assert on_mixer(on) == {M1: 6, M2: 4}
        told = await on.explain(TEN[4])
        assert told == (
            "The room is on air. Mixer m1 is draining; "
            "no other mixer can take the room (m2: all 4 places are taken)."
        )
        await on.modules.register(Kind.MIXER, M2, 10)
        await until(lambda: on_mixer(on) == {M2: 10}, within=5)


async def test_a_sick_room_does_not_hold_up_the_others_for_ever() -> None:
    async with ten_on_m1() as on:
        on.modules.deaf.add(FIRST)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: live_of(on.store, FIRST).mixer_id == M2)
        await anyio.sleep(25)
        assert on_mixer(on) == {M1: 9, M2: 1}
        assert "listeners hear m1 meanwhile" in await on.explain(FIRST)
        await until(lambda: on_mixer(on) == {M2: 10}, within=20)
        assert live_of(on.store, FIRST).previous is not None, "it is heard from m1 still"


async def test_one_on_its_way_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    async with ten_on_m1() as on:
        on.modules.deaf.add(FIRST)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: live_of(on.store, FIRST).mixer_id == M2)
        await on.modules.etcd.txn([], [Put(keys.room(FIRST, "mixer"), b"poison")])
        await seen(on.one)
        enqueue(on.one.view, on.one.controller.queue)
        await until(lambda: on_mixer(on) == {M2: 10}, within=5)


async def test_a_room_whose_janus_manager_is_away_is_not_moved_into_silence() -> None:
    async with ten_on_m1() as on:
        await on.modules.register(Kind.JANUS, J2, 20)
        await on.loses(Kind.JANUS, J1, Answer.ANSWERS)
        before = lives(on)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await anyio.sleep(60)
        assert lives(on) == before
        on.modules.stuck.clear()
        await on.modules.register(Kind.JANUS, J1, 20)
        await until(lambda: on_mixer(on) == {M2: 10}, within=10)
        assert {live.janus_id for live in lives(on)} == {J1}


async def test_the_old_mixer_dies_in_the_midst() -> None:
    async with ten_on_m1() as on:
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: on_mixer(on)[M2] == 3, within=30)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on.slots(Kind.MIXER, M1) == 0, within=3)
        await until(lambda: all(on.status(r) is RoomStatus.ONAIR for r in TEN))
        assert all(live.previous is None for live in lives(on))


async def test_the_new_mixer_dies_in_the_midst_and_the_old_one_is_kept() -> None:
    async with ten_on_m1() as on:
        on.modules.deaf.add(FIRST)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: live_of(on.store, FIRST).mixer_id == M2)
        moved = live_of(on.store, FIRST)
        await on.loses(Kind.MIXER, M2, Answer.REFUSED)
        await anyio.sleep(10)
        assert live_of(on.store, FIRST) == moved, "nobody else can take it"
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.READY)
        await until(lambda: live_of(on.store, FIRST).mixer_id == M1, within=1)
        after = live_of(on.store, FIRST)
        assert (after.previous, after.seams) == (None, 2)
        on.modules.deaf.clear()
        on.store.wake()
        await until(lambda: on.slots(Kind.MIXER, M1) == 10, within=1)


async def test_stopping_in_the_midst_waits_for_both_mixers() -> None:
    async with ten_on_m1() as on:
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        await until(lambda: live_of(on.store, FIRST).previous is not None)
        await until(lambda: on.status(FIRST) is RoomStatus.ONAIR)
        on.modules.stuck.add(M1)
        await on.one.wishes.stop(FIRST)
        await anyio.sleep(60)
        assert on.status(FIRST) is RoomStatus.STOPPING
        assert "Waiting for mixer m1 to end its part." in await on.explain(FIRST)
        on.modules.stuck.clear()
        on.store.wake()
        await until(lambda: on.store.get(keys.room(FIRST, "livemeta")) is None)


async def test_disabled_moves_nothing() -> None:
    async with ten_on_m1() as on:
        before = lives(on)
        await mark(on.modules.etcd, Kind.MIXER, M1, Mark.DISABLED)
        await anyio.sleep(300)
        assert lives(on) == before


@pytest.mark.parametrize("deadline", ["2026-01-01T00:01:00.000Z", None])
async def test_the_rooms_of_a_draining_janus_stay_until_its_deadline(deadline: str | None) -> None:
    async with stage({M1: 10}) as on:
        await on.start(*TEN)
        await on.modules.register(Kind.JANUS, J2, 10)
        before = lives(on)
        record = MarkRecord(mark=Mark.DRAINING, deadline_at=deadline)
        await put(on.modules.etcd, keys.mark(Kind.JANUS, J1), record)
        await anyio.sleep(59)
        assert lives(on) == before
        await anyio.sleep(5)
        moved = {live.janus_id for live in lives(on)}
        assert moved == ({J2} if deadline else {J1})
        assert all(on.status(r) is RoomStatus.ONAIR for r in TEN)

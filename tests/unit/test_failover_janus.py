"""A Janus dies: its rooms are made anew elsewhere, and FFmpeg goes on where that is safe (I5)."""

import anyio
import pytest
from structlog.testing import capture_logs

from pkg import keys
from pkg.etcd.api import Delete
from pkg.model import Epoch, JanusStatus, Kind, LiveMeta, RoomId, Slot
from roommanager.status import RoomStatus
from roommanager.verdict import Answer
from tests.support.stage import Stage, stage
from tests.support.virtual import BLUE, J1, J2, M1, M2, heartbeat, live_of, put, seen, until

pytestmark = pytest.mark.anyio
MIXER_HALF = {"mixer_id", "mixer_epoch", "mixer_slot", "seams"}


async def blue_on_j1(on: Stage) -> LiveMeta:
    await on.start(BLUE)
    await on.modules.register(Kind.JANUS, J2, 5)
    await seen(on.one)
    return live_of(on.store)


def on_j2(on: Stage) -> bool:
    return live_of(on.store).janus_id == J2 and on.status() is RoomStatus.ONAIR


async def test_of_a_proven_dead_janus_the_mixer_is_kept() -> None:
    async with stage({M1: 5}) as on:
        before = await blue_on_j1(on)
        await on.loses(Kind.JANUS, J1, Answer.REFUSED)
        await until(lambda: on_j2(on), within=1.4)
        after = live_of(on.store)
        assert after.model_dump(include=MIXER_HALF) == before.model_dump(include=MIXER_HALF)
        assert after.janus_epoch == after.epoch > before.epoch
        assert (on.slots(Kind.JANUS, J1), on.slots(Kind.JANUS, J2)) == (0, 1)


async def test_of_a_silent_janus_the_mixer_begins_anew_in_its_place() -> None:
    """It may be frozen and go on sending to the old port one day."""
    async with stage({M1: 1}) as on:
        before = await blue_on_j1(on)
        await on.loses(Kind.JANUS, J1, Answer.SILENT)
        await until(lambda: on_j2(on), within=2.6)
        after = live_of(on.store)
        assert (after.mixer_id, after.mixer_slot) == (M1, before.mixer_slot)
        assert after.mixer_epoch == after.janus_epoch > before.mixer_epoch
        assert after.seams == before.seams + 1
        assert on.slots(Kind.MIXER, M1) == 1


@pytest.mark.parametrize("capacity", [1, 3])
async def test_a_mixer_that_begins_anew_takes_its_lost_place_again(capacity: int) -> None:
    async with stage({M1: capacity}) as on:
        before = await blue_on_j1(on)
        on.modules.stuck.add(M1)
        await on.modules.etcd.txn([], [Delete(keys.slot(Kind.MIXER, M1, before.mixer_slot))])
        await on.loses(Kind.JANUS, J1, Answer.SILENT)
        await until(lambda: live_of(on.store).janus_id == J2, within=2.6)
        assert places(on) == {live_of(on.store).mixer_slot: live_of(on.store).mixer_epoch}


async def test_one_whose_place_another_room_has_takes_another_place() -> None:
    async with stage({M1: 2}) as on:
        before = await blue_on_j1(on)
        on.modules.stuck.add(M1)
        lost = keys.slot(Kind.MIXER, M1, before.mixer_slot)
        await put(on.modules.etcd, lost, Slot(room_id=RoomId("red"), epoch=Epoch(1)))
        await on.loses(Kind.JANUS, J1, Answer.SILENT)
        await until(lambda: live_of(on.store).janus_id == J2, within=2.6)
        after = live_of(on.store)
        assert places(on) == {before.mixer_slot: 1, after.mixer_slot: after.mixer_epoch}


async def test_a_mixer_is_given_no_place_above_its_capacity() -> None:
    async with stage({M1: 1}) as on:
        before = await blue_on_j1(on)
        on.modules.stuck.add(M1)
        lost = keys.slot(Kind.MIXER, M1, before.mixer_slot)
        await put(on.modules.etcd, lost, Slot(room_id=RoomId("red"), epoch=Epoch(1)))
        await on.loses(Kind.JANUS, J1, Answer.SILENT)
        with capture_logs() as logs:
            await anyio.sleep(100)
        assert (live_of(on.store), places(on)) == (before, {before.mixer_slot: 1})
        assert [line["event"] for line in logs].count("room.nowhere_to_go") == 1
        await on.modules.etcd.txn([], [Delete(lost)])
        await until(lambda: live_of(on.store).janus_id == J2, within=2.6)


def places(on: Stage) -> dict[int, int]:
    """Which are taken on m1, and by which epoch."""
    found = on.store.under(keys.slots_prefix(Kind.MIXER, M1))
    return {int(kv.key.rpartition("/")[2]): Slot.decode(kv.value).epoch for kv in found}


async def test_an_ill_janus_whose_manager_lives_gives_its_place_back_itself() -> None:
    async with stage({M1: 5}) as on:
        before = await blue_on_j1(on)
        on.prober.answers[J1] = Answer.REFUSED
        ill = heartbeat(5, "Janus does not answer")
        await put(on.modules.etcd, keys.heartbeat(Kind.JANUS, J1), ill)
        await until(lambda: on_j2(on), within=6)
        await until(lambda: on.slots(Kind.JANUS, J1) == 0)
        after = live_of(on.store)
        assert after.model_dump(include=MIXER_HALF) == before.model_dump(include=MIXER_HALF)


async def test_a_living_janus_whose_manager_is_gone_is_left_once_it_cannot_feed_the_mixer() -> None:
    async with stage({M1: 5}) as on:
        await blue_on_j1(on)
        await on.loses(Kind.JANUS, J1, Answer.ANSWERS)
        await anyio.sleep(100)
        assert on.status() is RoomStatus.ONAIR
        await on.modules.register(Kind.MIXER, M2, 5)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: live_of(on.store).mixer_id == M2)
        began = anyio.current_time()
        await anyio.sleep(14)
        assert live_of(on.store).janus_id == J1
        await until(lambda: on_j2(on), within=3)
        assert anyio.current_time() - began >= 15
        assert "nobody can move its forwarder" in (live_of(on.store).moved or "")


async def test_a_starting_room_whose_janus_works_slowly_is_not_moved() -> None:
    """Its manager has its lease: it is at work, however long that takes."""
    async with stage({M1: 5}) as on:
        on.modules.stuck.add(J1)
        await on.one.wishes.create(BLUE, None, {})
        await on.one.wishes.start(BLUE)
        await on.modules.register(Kind.JANUS, J2, 5)
        await anyio.sleep(100)
        assert live_of(on.store).janus_id == J1


async def test_nobody_else_has_a_janus() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        before = live_of(on.store)
        await on.loses(Kind.JANUS, J1, Answer.REFUSED)
        await anyio.sleep(100)
        assert live_of(on.store) == before
        assert "no other janus can take the room." in await on.explain()
        assert JanusStatus.FORWARDING in str(on.store.get(keys.room(BLUE, "janus")))


async def test_a_room_whose_janus_is_lost_is_not_on_air_whatever_its_keys_say() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        lost = heartbeat(5, "Janus does not answer")
        await put(on.modules.etcd, keys.heartbeat(Kind.JANUS, J1), lost)
        await seen(on.one)
        assert on.status() is RoomStatus.DEGRADED
        assert (await on.explain()).startswith("Janus j1 is not well (Janus does not answer).")
        await anyio.sleep(20)
        assert (await on.explain()).startswith("Janus j1 is not well.")
        await put(on.modules.etcd, keys.heartbeat(Kind.JANUS, J1), heartbeat(5))
        await seen(on.one)
        assert on.status() is RoomStatus.ONAIR

"""A module dies: its rooms go elsewhere at once, once, and only if it is really dead (I2 to I5)."""

import anyio
import pytest

from pkg import keys
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Kind, ModuleId, RoomId
from roommanager.status import RoomStatus
from roommanager.verdict import Answer
from tests.support.stage import blue_on_m1, on_m2, stage
from tests.support.virtual import (
    BLUE,
    J1,
    J2,
    M1,
    M2,
    heartbeat,
    live_of,
    put,
    until,
)

pytestmark = pytest.mark.anyio
M3, M4 = ModuleId("m3"), ModuleId("m4")
SOON = 1.0


@pytest.mark.parametrize("managers", [1, 2])
@pytest.mark.parametrize(("answer", "probing"), [(Answer.REFUSED, 0.31), (Answer.SILENT, 1.5)])
async def test_a_dead_mixers_room_is_on_air_elsewhere_at_once(
    answer: Answer, probing: float, managers: int
) -> None:
    async with blue_on_m1(managers) as (on, before):
        await on.loses(Kind.MIXER, M1, answer)
        began = anyio.current_time()
        await until(lambda: on_m2(on), within=probing + SOON)
        assert anyio.current_time() - began >= probing
        after = live_of(on.store)
        assert after.mixer_epoch == after.epoch > before.epoch
        kept = {"janus_id", "janus_epoch", "janus_slot", "nonce", "on_air_at", "started_at"}
        assert after.model_dump(include=kept) == before.model_dump(include=kept)
        assert (after.seams, after.previous) == (1, None)
        assert after.moved is not None
        assert after.moved.startswith("from mixer m1 to m2: its lease is gone")
        assert (on.slots(Kind.MIXER, M1), on.slots(Kind.MIXER, M2)) == (0, 1)
        revision = on.store.revision
        await anyio.sleep(120)
        assert on.store.revision == revision, "it was moved once, and then all is quiet"


async def test_a_mixer_that_answers_keeps_its_room_for_fifteen_minutes() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await anyio.sleep(890)
        assert live_of(on.store) == before
        assert await on.explain() == (
            "The room is on air. Mixer m1: its lease is gone, but it answers when asked directly; "
            "the room stays with it."
        )
        await until(lambda: on_m2(on), within=15)


async def test_one_that_answered_and_then_dies_is_noticed() -> None:
    async with blue_on_m1() as (on, _):
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await anyio.sleep(100)
        on.prober.answers[M1] = Answer.REFUSED
        await until(lambda: on_m2(on), within=1.0 + 0.3 + SOON)


async def test_one_refusal_is_no_proof() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on.prober.asked[M1] == 1)
        on.prober.answers[M1] = Answer.ANSWERS
        await anyio.sleep(60)
        assert live_of(on.store) == before


async def test_a_lease_that_comes_back_in_time_moves_nothing() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.SILENT)
        await anyio.sleep(1.0)
        await on.modules.register(Kind.MIXER, M1, 5)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        asked = on.prober.asked[M1]
        await anyio.sleep(60)
        assert on.prober.asked[M1] == asked, "one that is well is not probed"


async def test_a_room_that_was_never_on_air_is_moved_just_the_same() -> None:
    async with stage({M1: 5}) as on:
        on.modules.stuck.add(M1)
        await on.one.wishes.create(BLUE, None, {})
        await on.one.wishes.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 5)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on_m2(on), within=0.3 + SOON)


async def test_nobody_can_take_it_and_then_somebody_can() -> None:
    async with stage({M1: 5, M2: 0}) as on:
        await on.start(BLUE)
        await put(on.modules.etcd, keys.heartbeat(Kind.MIXER, M3), heartbeat(5, "disk full"))
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await anyio.sleep(62)  # between two looks
        assert live_of(on.store).mixer_id == M1
        told = await on.explain()
        assert "Mixer m1 is dead: its lease is gone and nobody listens where it was; " in told
        assert "no other mixer can take the room (m2: its capacity is 0, m3: disk full)." in told
        await on.modules.register(Kind.MIXER, M2, 1)
        await until(lambda: on_m2(on), within=SOON)


async def test_a_place_that_is_freed_is_taken_at_once() -> None:
    async with stage({M1: 1}) as on:
        await on.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 1)
        await on.start(RoomId("other"))
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await anyio.sleep(62)  # between two looks
        await on.one.wishes.delete(RoomId("other"))
        await until(lambda: on_m2(on), within=SOON)


async def test_the_dead_one_comes_back_and_has_its_room_still() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        before = live_of(on.store)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await anyio.sleep(300)
        on.modules.stuck.clear()
        await on.modules.register(Kind.MIXER, M1, 5)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        assert on.status() is RoomStatus.ONAIR


@pytest.mark.parametrize("managers", [1, 2])
async def test_many_rooms_never_exceed_what_the_others_can_take(managers: int) -> None:
    rooms = [RoomId(f"r{n}") for n in range(30)]
    async with stage({M1: 30}, {J1: 40}, managers) as on:
        await on.start(*rooms)
        for mixer, capacity in ((M2, 10), (M3, 12)):
            await on.modules.register(Kind.MIXER, mixer, capacity)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await anyio.sleep(20)
        assert [on.slots(Kind.MIXER, m) for m in (M1, M2, M3)] == [8, 10, 12]
        await on.modules.register(Kind.MIXER, M4, 30)
        await until(lambda: on.slots(Kind.MIXER, M1) == 0, within=SOON)
        assert on.slots(Kind.MIXER, M4) == 8


async def test_lost_answers_move_it_once() -> None:
    async with blue_on_m1() as (on, _):
        on.one.etcd.lose_answers(3)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on_m2(on), within=5)
        assert live_of(on.store).seams == 1
        assert on.slots(Kind.MIXER, M2) == 1


async def test_what_vanishes_together_is_left_alone() -> None:
    """A paused etcd lets every lease die at once: 0 rooms move (facts.md)."""
    async with stage(dict.fromkeys((M1, M2, M3), 5)) as on:
        rooms = [RoomId(f"r{n}") for n in range(9)]
        await on.start(*rooms)
        before = [live_of(on.store, r) for r in rooms]
        for mixer in (M1, M2, M3):
            await on.loses(Kind.MIXER, mixer, Answer.REFUSED)
        await anyio.sleep(TTL_SECONDS - 1)
        for mixer in (M1, M2, M3):
            await on.modules.register(Kind.MIXER, mixer, 5)
        await anyio.sleep(60)
        assert [live_of(on.store, r) for r in rooms] == before


async def test_after_a_mass_loss_the_dead_are_left_slowly() -> None:
    rooms = [RoomId(f"r{n}") for n in range(12)]
    async with stage({M1: 6, M2: 6}) as on:
        await on.start(*rooms)
        await on.modules.register(Kind.MIXER, M3, 20)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await on.loses(Kind.MIXER, M2, Answer.REFUSED)
        await anyio.sleep(TTL_SECONDS - 1)
        assert on.slots(Kind.MIXER, M3) == 0
        assert "many vanished together" in await on.explain(rooms[0])
        await anyio.sleep(1.5)
        assert 1 <= on.slots(Kind.MIXER, M3) <= 3
        await until(lambda: on.slots(Kind.MIXER, M3) == 12, within=13)


async def test_a_janus_that_lost_its_lease_is_no_matter_to_mixers() -> None:
    async with stage({M1: 5, M2: 5}, {J1: 5, J2: 5}) as on:
        await on.start(BLUE)
        before = live_of(on.store)
        await on.loses(Kind.JANUS, before.janus_id, Answer.ANSWERS)
        await anyio.sleep(100)
        assert live_of(on.store) == before

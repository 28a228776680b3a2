"""Nobody is called dead who was not asked, or who for long could not be (docs/decisions/0008)."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Kind, LiveMeta
from roommanager.verdict import UNASKED_SECONDS, Answer, Fitness
from tests.support.stage import Stage, blue_on_m1, on_m2, stage
from tests.support.virtual import BLUE, J1, J2, M1, live_of, seen, until

pytestmark = pytest.mark.anyio


async def loses_its_place(on: Stage, live: LiveMeta) -> None:
    """By hand, while its module cannot reach etcd."""
    place = keys.slot(Kind.MIXER, live.mixer_id, live.mixer_slot)
    await MemoryEtcd(on.store).txn([], [Delete(place)])


async def test_one_that_holds_no_place_of_its_room_is_asked_all_the_same() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await loses_its_place(on, before)
        await anyio.sleep(600)
        assert live_of(on.store) == before
        assert "its lease is gone, but it answers" in await on.explain()
        on.prober.answers[M1] = Answer.REFUSED
        await until(lambda: on_m2(on), within=3)


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.SILENT])
async def test_and_left_if_it_does_not_answer(answer: Answer) -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await loses_its_place(on, before)
        await anyio.sleep(30)
        on.prober.answers[M1] = answer
        await until(lambda: on_m2(on), within=3)


async def test_it_is_asked_no_more_once_its_room_has_ended() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await loses_its_place(on, before)
        await anyio.sleep(30)
        await on.one.wishes.delete(BLUE)
        await MemoryEtcd(on.store).txn([], [Delete(keys.room(BLUE, "mixer"))])
        await until(lambda: on.store.get(keys.room(BLUE, "livemeta")) is None)
        await seen(on.one)
        await anyio.sleep(2)
        asked = on.prober.asked[M1]
        await anyio.sleep(60)
        assert on.prober.asked[M1] == asked
        assert on.one.vigil.verdict(Kind.MIXER, M1).fitness is Fitness.DEAD


async def test_one_whose_address_nobody_knows_keeps_its_rooms_for_half_a_minute() -> None:
    async with blue_on_m1() as (on, before):
        await on.loses(Kind.MIXER, M1, Answer.UNASKED)
        await anyio.sleep(UNASKED_SECONDS - 1)
        assert live_of(on.store) == before
        assert "its lease is gone, and nobody knows where to ask it" in await on.explain()
        await until(lambda: on_m2(on), within=2)


async def test_and_of_a_janus_that_nobody_could_ask_the_port_is_used_no_more() -> None:
    """It may still send there: nothing was proven."""
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        before = live_of(on.store)
        await on.modules.register(Kind.JANUS, J2, 5)
        await on.loses(Kind.JANUS, J1, Answer.UNASKED)
        await until(lambda: live_of(on.store).janus_id == J2, within=UNASKED_SECONDS + 2)
        assert live_of(on.store).mixer_epoch > before.mixer_epoch

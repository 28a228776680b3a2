"""What a module has left is freed as soon as it is known dead, and only what no wish names (I5)."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import Epoch, Kind, RoomId, Slot
from roommanager.verdict import Answer, Fitness
from tests.support.keeping import House, house
from tests.support.virtual import J1, M1, FakeProber, until

pytestmark = pytest.mark.anyio
RED = RoomId("red")
LEAKS = [Slot(room_id=RED, epoch=Epoch(2)).encode(), b"{"]
NUMBERS = range(4)


async def leaks(it: House, value: bytes = LEAKS[0]) -> str:
    """Blue is on air; the mixer has a place besides that no room names. Answers blue's place."""
    await it.on_air("blue")
    it.modules.stuck |= {M1, J1}
    named = it.slot_key(Kind.MIXER, RoomId("blue"))
    for key in (keys.slot(Kind.MIXER, M1, n) for n in NUMBERS):
        if key != named:
            await it.write(key, value)
    return named


@pytest.mark.parametrize("value", LEAKS)
async def test_a_dead_modules_leaked_places_are_freed_at_once(value: bytes) -> None:
    async with house(prober=FakeProber({M1: Answer.REFUSED})) as it:
        named = await leaks(it, value)
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await until(lambda: it.slots(Kind.MIXER, M1) == [named], within=2)


async def test_not_those_of_one_that_answers() -> None:
    async with house() as it:
        await leaks(it)
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await anyio.sleep(10)
        assert len(it.slots(Kind.MIXER, M1)) == len(NUMBERS)


async def test_not_while_a_wish_cannot_be_read() -> None:
    """It may be the one that names them."""
    async with house(prober=FakeProber({M1: Answer.REFUSED})) as it:
        await leaks(it)
        await it.write(keys.room(RED, "livemeta"), b"{")
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await anyio.sleep(10)
        assert len(it.slots(Kind.MIXER, M1)) == len(NUMBERS)


async def test_one_that_died_before_is_seen_to_by_whoever_is_elected() -> None:
    async with house(prober=FakeProber({M1: Answer.REFUSED})) as it:
        named, etcd = await leaks(it), it.modules.etcd
        other = await etcd.grant(20)  # which leads until then, and does nothing
        await etcd.txn([], [Put(keys.leader("housekeeping"), b"{}", other)])
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await anyio.sleep(15)
        assert it.manager.vigil.verdict(Kind.MIXER, M1).fitness is Fitness.DEAD
        assert len(it.slots(Kind.MIXER, M1)) == len(NUMBERS)
        await until(lambda: it.slots(Kind.MIXER, M1) == [named], within=6)

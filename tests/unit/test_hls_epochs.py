"""A segment of an earlier epoch can be had from whoever still has it, also by a cold replica."""

import pytest

from pkg import keys
from pkg.model import RoomMeta
from roommanager.sources import NotOnAirError, NotYetError
from tests.support.airwaves import Waves, live, name, waves
from tests.support.virtual import BLUE, put

pytestmark = pytest.mark.anyio


async def got(s: Waves, epoch: int) -> object:
    """What one who asks for a segment of this epoch is answered."""
    (answer,) = await s.ask(1, name(epoch, 7))
    return answer


@pytest.mark.parametrize("taken", [False, True])
async def test_of_a_mixer_that_has_the_room_under_another_epoch(taken: bool) -> None:
    """A Janus that may still send was left: the mixer began anew and keeps the old folder."""
    async with waves() as s:
        await s.wish(live(9, seams=1), taken=taken)
        assert await got(s, 5) == s.origins.body
        assert s.origins.asked == [f"/blue/5/{name(5, 7)}"]


async def test_of_the_mixer_that_is_being_replaced_from_before_its_last_epoch() -> None:
    async with waves() as s:
        s.origins.only_at = {5: "old"}
        await s.wish(live(12, seams=2, previous=9))
        assert await got(s, 5) == s.origins.body


async def test_one_that_is_silent_keeps_nothing_that_another_has() -> None:
    async with waves() as s:
        s.origins.only_at = {5: "old"}
        s.origins.dead = {"origin"}
        await s.wish(live(12, seams=2, previous=9))
        assert await got(s, 5) == s.origins.body
        s.origins.dead = {"origin", "old"}
        (away,) = await s.ask(1, name(5, 6))
        assert isinstance(away, NotYetError), "it may be had again"


async def test_what_nobody_has_any_more_is_gone() -> None:
    async with waves() as s:
        s.origins.texts.clear()
        await s.wish(live(12, seams=2, previous=9))
        assert isinstance(await got(s, 5), NotOnAirError)


async def test_epochs_of_an_earlier_start_are_not_asked_for() -> None:
    async with waves() as s:
        await started_again(s)
        assert isinstance(await got(s, 5), NotOnAirError)
        assert s.origins.asked == []


async def started_again(s: Waves) -> None:
    """As ``execute.finish_stop`` and a start after it leave it."""
    while s.etcd.store.revision <= 5:
        await put(s.etcd, keys.room(BLUE, "meta"), RoomMeta(room_id=BLUE, created_at=""))
    await s.wish(live(s.etcd.store.revision + 100, nonce="n2"))

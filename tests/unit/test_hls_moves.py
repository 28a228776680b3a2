"""A room moves under its listeners: the playlist goes on, forward only, and ends where it was."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete
from pkg.model import Desired, Ended, Epoch, RoomMeta
from roommanager import hls
from roommanager.sources import NotOnAirError, NotYetError
from tests.support.airwaves import Waves, listing, live, name, waves
from tests.support.virtual import BLUE, M1, put

pytestmark = pytest.mark.anyio


async def test_the_last_playlist_bridges_a_failover_of_the_same_start_only() -> None:
    async with waves() as s:
        before = await s.hear()
        await s.wish(live(9, seams=1), taken=False)
        assert await s.later() == before, "no mixer has taken it"
        await s.wish(live(9, seams=1))
        assert await s.later() == before, "it has nothing yet"
        s.origins.lists(9, range(1))
        after = await s.later()
        assert name(9, 0) in after, "one segment is enough, if there is nobody else"
        assert name(5, 7) not in after
        await s.wish(live(12, nonce="n2"))
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError), "another start has another key"


async def test_while_a_mixer_is_replaced_the_previous_one_is_heard_until_there_is_enough() -> None:
    async with waves() as s:
        await s.wish(live(9, seams=1, previous=5))
        assert name(5, 7) in await s.hear(), "also on a replica that served nothing before"
        for listed in (0, 1, 2):
            s.origins.lists(9, range(listed))
            s.origins.lists(5, range(1, 9 + listed))
            text = await s.later()
            assert name(5, 8 + listed) in text, "and it goes on"
            assert name(9, 0) not in text
        s.origins.lists(9, range(3))
        text = await s.later()
        assert name(9, 2) in text
        assert name(5, 7) not in text


async def test_a_replica_never_goes_back_to_an_older_epoch() -> None:
    async with waves() as s:
        s.origins.lists(9, range(3))
        await s.wish(live(9, seams=1, previous=5))
        text = await s.hear()
        assert name(9, 2) in text
        s.origins.down = {9}
        assert await s.later() == text
        await s.wish(live(5))  # a copy of etcd that lags
        assert await s.later() == text
        await anyio.sleep(hls.IDLE_SECONDS + 1)
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError), "not even if nobody listened meanwhile"
        s.origins.down = set()
        await s.wish(live(9, seams=1))
        assert name(9, 2) in await s.hear()


async def test_seams_are_numbered_over_all_epochs_and_the_target_never_sinks() -> None:
    """Hosts may be set to segments of other lengths."""
    async with waves() as s:
        s.origins.texts[5] = listing(5, range(2, 9), runs=(0, 6), target=4)
        text = await s.hear()
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:0\n" in text
        s.origins.lists(9, range(3))
        await s.wish(live(9, seams=2, previous=5))
        text = await s.later()
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in text, "its first segment begins the second"
        assert "#EXT-X-TARGETDURATION:4\n" in text
        s.origins.lists(9, range(1, 4))
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:2\n" in await s.later()


async def test_the_previous_one_and_an_ended_one_keep_their_numbers() -> None:
    async with waves() as s:
        s.origins.lists(5, range(2, 9))
        before = live(9, seams=4, previous=5)
        assert before.previous is not None
        seams = before.previous.model_copy(update={"seams": 3})
        await s.wish(before.model_copy(update={"previous": seams}))
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:3\n" in await s.hear()
        await anyio.sleep(hls.IDLE_SECONDS + 1)
        ended = Ended(
            room_id=BLUE, mixer_id=M1, epoch=Epoch(5), nonce="n1", origin="http://o", seams=3
        )
        await s.etcd.txn([], [Delete(keys.room(BLUE, leaf)) for leaf in ("livemeta", "mixer")])
        await put(s.etcd, keys.ended(M1, BLUE), ended)
        await s.seen()
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:3\n" in await s.hear()


async def test_if_the_previous_one_dies_meanwhile_the_new_one_is_heard_as_soon_as_it_can() -> None:
    async with waves() as s:
        await s.wish(live(9, seams=1, previous=5))
        before = await s.hear()
        s.origins.down = {5}
        assert await s.later() == before
        s.origins.lists(9, range(1))
        assert name(9, 0) in await s.later()


@pytest.mark.parametrize("hangs", [5, 9])
async def test_of_two_mixers_the_one_that_hangs_keeps_nothing_from_anybody(hangs: int) -> None:
    async with waves() as s:
        s.origins.lists(9, range(2))
        s.origins.takes = {hangs: 60.0}
        await s.wish(live(9, seams=1, previous=5))
        began = anyio.current_time()
        assert name(14 - hangs, 1) in await s.hear()
        assert anyio.current_time() - began <= hls.RIVAL_SECONDS + 0.01


async def ask_cold(s: Waves) -> tuple[object, float, int]:
    """The answer, how long it took, and how often an origin was asked for it; 20 ask at once."""
    began, asked = anyio.current_time(), len(s.origins.asked)
    answers = await s.ask(20)
    took = anyio.current_time() - began
    return answers[0], took, len(s.origins.asked) - asked


async def test_who_has_no_last_playlist_holds_the_request_for_one_segment() -> None:
    async with waves() as s:
        await s.wish(live(9, seams=1))
        answer, took, asked = await ask_cold(s)
        assert isinstance(answer, NotYetError)
        assert hls.HOLD_SECONDS - 0.01 <= took <= hls.HOLD_SECONDS + 0.3
        assert asked <= hls.HOLD_SECONDS / hls.LOOK_SECONDS + 1, "one looks for all"


async def test_a_held_request_is_answered_by_the_news_of_a_new_mixer() -> None:
    async with waves() as s, anyio.create_task_group() as tasks:
        s.origins.lists(9, range(1))
        s.origins.down = {5}
        s.origins.takes = {5: 0.0}
        answers: list[object] = []

        async def listen() -> None:
            answers.extend(await s.ask())

        tasks.start_soon(listen)
        await anyio.sleep(1.0 + hls.LOOK_SECONDS / 2)
        assert answers == []
        await s.wish(live(9, seams=1))
        await anyio.sleep(hls.LOOK_SECONDS / 5)  # virtual time: far less than to the next look
        (answer,) = answers
        assert isinstance(answer, tuple)
        assert name(9, 0) in answer[0]


async def test_before_a_room_was_ever_on_air_nobody_is_held() -> None:
    async with waves() as s:
        await s.wish(live(9, nonce="n2").model_copy(update={"on_air_at": None}))
        answer, took, _ = await ask_cold(s)
        assert isinstance(answer, NotYetError)
        assert took < 0.1


async def test_a_room_that_is_stopped_in_the_midst_of_a_move_ends_where_it_was_heard() -> None:
    async with waves() as s:
        s.origins.lists(9, range(2))
        await s.wish(live(9, seams=1, previous=5))
        await s.hear()
        s.origins.lists(9, range(4))
        s.origins.lists(5, range(1, 10))
        await s.wish(live(9, Desired.STOPPING, seams=1, previous=5))
        await anyio.sleep(1)
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[1].ended
        assert name(5, 9) in answer[0]
        ended = Ended(
            room_id=BLUE, mixer_id=M1, epoch=Epoch(9), nonce="n1", origin="http://o", seams=1
        )
        await s.etcd.txn([], [Delete(keys.room(BLUE, leaf)) for leaf in ("livemeta", "mixer")])
        await put(s.etcd, keys.ended(M1, BLUE), ended)
        await s.seen()
        await anyio.sleep(2)
        (last,) = await s.ask()
        assert isinstance(last, tuple)
        assert last[1].ended
        assert last[0] == answer[0], "although its own mixer is gone"
        (segment,) = await s.ask(1, name(5, 9))
        assert segment == s.origins.body
        await anyio.sleep(hls.IDLE_SECONDS + 1)
        (cold,) = await s.ask()
        assert isinstance(cold, tuple)
        assert name(9, 3) in cold[0], "who comes later hears what there is"


async def test_what_was_heard_is_gone_with_its_time_on_air() -> None:
    async with waves() as s:
        await s.hear()
        await anyio.sleep(1)
        await s.wish(live(9, seams=1))
        (kept,) = await s.ask(1, name(5, 7))
        assert kept == s.origins.body, "of an earlier epoch, the same time on air"
        await put(s.etcd, keys.room(BLUE, "meta"), RoomMeta(room_id=BLUE, created_at=""))
        await s.wish(live(12, nonce="n2"))
        (over,) = await s.ask(1, name(5, 7))
        assert isinstance(over, NotOnAirError)

"""Playlists and segments between listeners and origins: fetched once, kept, bounded."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete
from pkg.model import Desired, Ended, Endpoints, Epoch, Kind
from roommanager import hls, segments
from roommanager.sources import NotOnAirError, NotYetError
from tests.support.airwaves import live, name, waves
from tests.support.virtual import BLUE, M1, observed, put

pytestmark = pytest.mark.anyio


async def test_a_playlist_is_fetched_once_for_all_who_ask() -> None:
    async with waves() as s:
        answers = await s.ask(100)
        assert s.origins.asked_for("live.m3u8") == 1
        assert len({a[0] for a in answers if isinstance(a, tuple)}) == 1
        assert len(answers) == 100
        await s.ask()
        assert s.origins.asked_for("live.m3u8") == 1
        await anyio.sleep(hls.PLAYLIST_SECONDS)
        await s.ask(10)
        assert s.origins.asked_for("live.m3u8") == 2


async def test_a_fetch_goes_on_when_the_one_who_asked_goes_away() -> None:
    async with waves() as s:
        with anyio.move_on_after(0.005):
            await s.hls.playlist(s.view.room(BLUE))
        assert name(5, 7) in await s.hear()
        assert s.origins.asked_for("live.m3u8") == 1


async def test_listeners_do_not_queue_behind_an_origin_that_hangs() -> None:
    async with waves() as s:
        s.origins.down, s.origins.takes = {5}, {5: 3.0}
        began = anyio.current_time()
        answers = await s.ask(50)
        assert anyio.current_time() - began <= hls.HOLD_SECONDS + 0.1
        assert all(isinstance(a, NotYetError) for a in answers)


async def test_nobody_who_has_heard_something_waits_for_an_origin_that_hangs() -> None:
    async with waves() as s:
        text = await s.hear()
        s.origins.down, s.origins.takes = {5}, {5: 3.0}
        await anyio.sleep(1)
        for _ in range(20):
            began = anyio.current_time()
            answers = await s.ask(10)
            assert {a[0] for a in answers if isinstance(a, tuple)} == {text}
            assert len(answers) == 10
            assert anyio.current_time() - began <= hls.PATIENCE_SECONDS + 0.01
            await anyio.sleep(0.4)
        assert s.origins.asked_for("live.m3u8") < 8, "one fetch at a time"
        s.origins.takes = {}
        s.origins.down = set()
        s.origins.lists(5, range(1, 9))
        await s.later(4)
        assert name(5, 8) in await s.later(1)


async def test_the_last_playlist_is_served_while_the_origin_is_away() -> None:
    async with waves() as s:
        text = await s.hear()
        s.origins.down = {5}
        for _ in range(10):
            assert await s.later(hls.IDLE_SECONDS - 1) == text


async def test_a_playlist_that_nobody_asked_for_lately_is_not_the_last_one() -> None:
    """Other replicas have served later ones meanwhile: this would set their listeners back."""
    async with waves() as s:
        await s.hear()
        s.origins.down = {5}
        await anyio.sleep(hls.IDLE_SECONDS + 1)
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError)


async def test_before_the_mixer_took_the_room_there_is_nothing_yet() -> None:
    async with waves() as s:
        await s.etcd.txn([], [Delete(keys.room(BLUE, "mixer"))])
        await s.wish(live(9), taken=False)
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError)
        assert s.origins.asked == []


async def test_stopping_and_stopped_rooms_say_that_they_have_ended() -> None:
    async with waves() as s:
        await s.wish(live(5, Desired.STOPPING))
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[1].ended
        ended = Ended(room_id=BLUE, mixer_id=M1, epoch=Epoch(5), nonce="n1", origin="http://origin")
        etcd = s.etcd
        await etcd.txn([], [Delete(keys.room(BLUE, "livemeta")), Delete(keys.room(BLUE, "mixer"))])
        await put(etcd, keys.ended(M1, BLUE), ended)
        await s.seen()
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[1].ended
        await etcd.txn([], [Delete(keys.ended(M1, BLUE))])
        await s.seen()
        (answer,) = await s.ask()
        assert isinstance(answer, NotOnAirError)
        (segment,) = await s.ask(1, name(5, 7))
        assert isinstance(segment, NotOnAirError), "although it is still kept here"


async def test_a_room_that_is_removed_is_silent_at_once() -> None:
    async with waves() as s:
        await s.hear()
        await s.wish(live(5, Desired.REMOVING))
        for leaf in ("", name(5, 7)):
            (answer,) = await s.ask(1, leaf)
            assert isinstance(answer, NotOnAirError)


async def test_a_segment_is_fetched_once_and_only_of_a_known_epoch() -> None:
    async with waves() as s:
        answers = await s.ask(50, name(5, 7))
        assert answers == [s.origins.body] * 50
        assert s.origins.asked == [f"/blue/5/{name(5, 7)}"]
        (old,) = await s.ask(1, name(4, 7))
        (unknown,) = await s.ask(1, name(5, 99))
        assert isinstance(old, NotOnAirError)
        assert isinstance(unknown, NotOnAirError)
        (newer,) = await s.ask(1, name(9, 0))
        assert isinstance(newer, NotYetError), "another replica's copy may be ahead of ours"
        s.origins.down = {5}
        (away,) = await s.ask(1, name(5, 1))
        assert isinstance(away, NotYetError)


async def test_the_cache_of_segments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "CACHE_BYTES", 350)
    async with waves() as s:
        s.origins.lists(5, range(10, 20))
        for n in range(10, 20):
            await s.ask(5, name(5, n))
        asked = len(s.origins.asked)
        assert asked == 10
        await s.ask(1, name(5, 19))
        assert len(s.origins.asked) == asked, "the newest is kept"
        await s.ask(1, name(5, 10))
        assert len(s.origins.asked) == asked + 1, "the oldest is not"
        s.origins.body = b"x" * 400
        assert len(await s.ask(1, name(5, 11))) == 1, "larger than the whole cache"


async def test_nothing_is_fetched_from_what_is_no_address() -> None:
    async with waves() as s:
        nowhere = Endpoints(origin="http://m1:99999")
        state = observed(Kind.MIXER, live(5)).model_copy(update={"endpoints": nowhere})
        await put(s.etcd, keys.room(BLUE, "mixer"), state)
        await s.seen()
        answers = [*await s.ask(), *await s.ask(leaf=name(5, 7))]
        assert all(isinstance(a, NotYetError) for a in answers)
        assert len(answers) == 2
        assert s.origins.asked == []

"""Whatever a served playlist lists can be had here, also when its mixer's host is gone."""

import anyio
import pytest
from structlog.testing import capture_logs

from pkg.model import Epoch
from roommanager import ahead, hls, segments
from roommanager.sources import NotYetError, Source
from tests.support.airwaves import live, name, waves
from tests.support.virtual import BLUE

pytestmark = pytest.mark.anyio


async def test_all_that_was_listed_while_somebody_listened_outlives_its_host() -> None:
    async with waves() as s:
        await s.hear()
        for n in range(1, 6):
            s.origins.lists(5, range(n, 8 + n))
            await s.later()
        await anyio.sleep(0.1)
        s.origins.down = {5}
        for n in range(5, 13):
            assert await s.ask(3, name(5, n)) == [s.origins.body] * 3
        assert s.origins.asked_for(".ts") == 8, "each once, by this replica"


async def test_of_the_first_playlist_only_what_players_begin_with_is_fetched() -> None:
    async with waves() as s:
        await s.hear()
        await anyio.sleep(1)
        assert sorted(p for p in s.origins.asked if p.endswith(".ts")) == [
            f"/blue/5/{name(5, n)}" for n in (5, 6, 7)
        ]


async def test_without_listeners_nothing_is_fetched() -> None:
    async with waves() as s:
        await anyio.sleep(60)
        assert s.origins.asked == []
        await s.hear()
        await anyio.sleep(hls.IDLE_SECONDS + 1)
        s.origins.lists(5, range(20, 35))
        asked = s.origins.asked_for(".ts")
        await s.hear()
        await anyio.sleep(1)
        assert s.origins.asked_for(".ts") == asked + 3, "one who comes back is one who comes"


async def test_a_new_epochs_segments_are_fetched_from_its_first_on() -> None:
    async with waves() as s:
        await s.hear()
        s.origins.lists(9, range(5))
        await s.wish(live(9, seams=1))
        await s.later()
        await anyio.sleep(1)
        assert {p for p in s.origins.asked if "/9/s_" in p} == {
            f"/blue/9/{name(9, n)}" for n in range(5)
        }


async def test_no_playlist_waits_for_what_is_fetched_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "QUEUE", 2)
    monkeypatch.setattr(ahead, "AT_ONCE", 1)
    async with waves() as s:
        s.origins.lists(5, range(15))
        with capture_logs() as logs:
            for n in range(20):
                s.origins.takes = {}
                began = anyio.current_time()
                await s.later(0.4)
                s.origins.takes = {5: 50.0}
                assert anyio.current_time() - began < 0.5
                s.origins.lists(5, range(n, n + 15))
                await anyio.sleep(0.1)
        s.origins.down, s.origins.takes = {5}, {}
        await anyio.sleep(60)
        (gone,) = await s.ask(1, name(5, 32))
        assert isinstance(gone, NotYetError), "dropped: there was no room in the queue"
        assert [line["event"] for line in logs].count("prefetch.dropped") == 1


async def test_what_could_not_be_fetched_ahead_is_tried_again() -> None:
    async with waves() as s:
        await s.hear()
        s.origins.refused = {name(5, 8)}
        s.origins.lists(5, range(1, 9))
        await s.later()
        await s.later(0.5)
        await anyio.sleep(0.1)
        assert s.origins.asked_for(name(5, 8)) == 1, "not at once"
        s.origins.refused = set()
        await s.later()
        await anyio.sleep(0.1)
        s.origins.down = {5}
        assert await s.ask(1, name(5, 8)) == [s.origins.body]


async def test_it_is_tried_a_few_times_with_growing_pauses() -> None:
    async with waves() as s:
        await s.hear()
        s.origins.refused = {name(5, n) for n in range(8, 16)}
        s.origins.lists(5, range(1, 16))
        for _ in range(300):
            await s.later(0.3)
        tries = {s.origins.asked_for(leaf) for leaf in s.origins.refused}
        assert tries == {ahead.TRIES}


async def test_what_was_had_once_is_not_fetched_ahead_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a cache that is too small would fetch for ever."""
    monkeypatch.setattr(segments, "CACHE_BYTES", 150)
    async with waves() as s:
        for _ in range(20):
            await s.later(0.5)
        assert s.origins.asked_for(".ts") == 3


async def test_an_origin_that_hangs_keeps_nothing_of_others_from_being_fetched_ahead() -> None:
    wished: list[str] = []

    async def fetch(source: Source, leaf: str) -> None:
        await anyio.sleep(60.0 if source.origin == "http://dead" else 0.01)
        wished.append(leaf)

    sources = [Source(BLUE, "n", Epoch(5), f"http://{host}") for host in ("dead", "well")]
    first = ahead.Ahead(fetch)
    async with first.running():
        for source in sources:
            first.offer(ahead.Wish(source, name(5, n)) for n in range(ahead.QUEUE))
        await anyio.sleep(1)
        assert len(wished) == ahead.QUEUE

"""Whatever a served playlist lists can be had here, also when its mixer's host is gone."""

import anyio
import pytest

from roommanager import hls, segments
from roommanager.sources import NotYetError
from tests.support.airwaves import live, name, waves

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
    monkeypatch.setattr(segments, "PREFETCH_QUEUE", 2)
    monkeypatch.setattr(segments, "PREFETCHERS", 1)
    async with waves() as s:
        s.origins.lists(5, range(15))
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
        (gone,) = await s.ask(1, name(5, 33))
        assert isinstance(gone, NotYetError), "dropped: there was no room in the queue"

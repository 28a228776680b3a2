"""The player in virtual time, at an origin that fails in every way it must notice."""

import anyio
import httpx
import pytest

from chaos.player import Moment, playing
from tests.support.served import WALL, Origin, playlist

pytestmark = pytest.mark.anyio

URL = "http://a/hls/blue/live.m3u8"
EVERYTHING = Moment(0.0, 0.0)


async def test_a_room_in_order_leaves_nothing_to_tell() -> None:
    origin = Origin()
    async with origin.client() as client, playing(client, [URL]) as player:
        await player.started()
        assert 4 <= player.buffer.level(anyio.current_time()) <= 6
        await anyio.sleep(100)
        report = player.report()
    assert (report.silence, report.missing, report.reloads, report.unfetchable) == (0, 0, 0, 0)
    assert report.wrong == report.failures == []
    assert player.book.loads < 70, "a load each target duration, or half where nothing is new"


async def test_an_outage_longer_than_the_buffer_is_silence_but_no_audio_is_missing() -> None:
    """The origin goes on; nobody can reach it for 12 s."""
    origin = Origin()
    async with origin.client() as client, playing(client, [URL]) as player:
        await player.started()
        await anyio.sleep(9.9)
        moment = player.now()
        origin.answers = lambda _: httpx.Response(503)
        await anyio.sleep(12)
        origin.answers = lambda _: None
        await anyio.sleep(20)
        report = player.report(Moment(moment.loop, 0))
    assert 6 <= report.silence <= 13
    assert (report.missing, report.reloads) == (0, 1), "hls.js gives up at the third failure"
    assert len(report.failures) >= 3


async def test_a_short_outage_is_not_heard() -> None:
    origin = Origin()
    async with origin.client() as client, playing(client, [URL]) as player:
        await anyio.sleep(10)
        origin.answers = lambda _: httpx.Response(503)
        await anyio.sleep(2)
        origin.answers = lambda _: None
        await anyio.sleep(10)
        report = player.report()
    assert (report.silence, report.reloads) == (0, 0)
    assert report.failures


async def test_time_that_no_playlist_held_is_missing() -> None:
    origin = Origin()
    begun = WALL + 9.0  # the second mixer, at number 100, lost 9 s
    async with origin.client() as client, playing(client, [URL]) as player:
        await anyio.sleep(5)
        edge = origin.newest
        new = playlist([100, 101, 102], epoch=2, seams=1, begun=begun - 2 * (100 - edge))
        origin.answers = lambda path: httpx.Response(200, text=new) if "live" in path else None
        await anyio.sleep(10)
        report = player.report()
    assert (report.missing, report.missing_segments) == (9.0, 4.5)
    assert report.wrong == []


async def test_a_listed_segment_that_cannot_be_had_is_told_and_passed_over() -> None:
    origin = Origin()
    async with origin.client() as client, playing(client, [URL]) as player:
        await player.started()
        name = f"s_1_{origin.newest}.ts"
        origin.answers = lambda path: httpx.Response(404) if path.endswith(name) else None
        await anyio.sleep(20)
        report = player.report()
    assert (report.unfetchable, report.reloads) == (1, 1)
    assert [entry.name for entry, _ in player.segments].count(name) == 0
    assert player.last is not None
    assert player.last.number >= origin.newest - 3


async def test_a_second_room_manager_is_asked_when_the_first_refuses() -> None:
    origin = Origin()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=playlist(range(origin.newest)))

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with client, playing(client, [URL, URL.replace("//a", "//b")]) as player:
        await player.started()
        assert player.report(EVERYTHING).failures == []


async def test_an_ended_playlist_and_a_playlist_that_is_gone_need_a_reload() -> None:
    origin = Origin()
    ended = playlist(range(30)) + "#EXT-X-ENDLIST\n"
    async with origin.client() as client, playing(client, [URL]) as player:
        await player.started()
        origin.answers = lambda path: httpx.Response(200, text=ended) if "live" in path else None
        await anyio.sleep(5)
        assert player.report().reloads == 1
        origin.answers = lambda path: httpx.Response(404) if "live" in path else None
        await anyio.sleep(30)
        assert player.report().reloads == 2, "one row of failures is one reload"


async def test_nonsense_in_place_of_playlist_and_segment_is_told() -> None:
    origin = Origin()
    async with origin.client() as client, playing(client, [URL]) as player:
        await player.started()
        origin.answers = lambda path: (
            httpx.Response(200, content=b"<html>") if path.endswith(".ts") else None
        )
        await anyio.sleep(3)
        assert any("no transport stream" in words for words in player.report().wrong)
        origin.answers = lambda _: httpx.Response(200, text="<html>")
        await anyio.sleep(5)
        assert any("no #EXTM3U" in words for words in player.report().wrong)

"""Playlists and segments between listeners and origins: fetched once, kept, bounded."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryStore
from pkg.model import Desired, Ended, Epoch, Kind, LiveMeta, RoomMeta
from roommanager import hls
from roommanager.hls import Hls, NotOnAirError, NotYetError
from tests.support.virtual import BLUE, J1, M1, Manager, heartbeat, manager, observed, put, seen

pytestmark = pytest.mark.anyio
TEXT = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\ns_{0}_{1}.ts\n"


class Origin:
    """A mixer's origin: what it was asked for, how long it takes, whether it is down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.takes = 0.1
        self.down = False
        self.body = b"x" * 100
        self.newest = 7

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        await anyio.sleep(self.takes)
        if self.down:
            raise httpx.ConnectTimeout("down")
        _, _, epoch, name = request.url.path.split("/")
        if name == "live.m3u8":
            return httpx.Response(200, text=TEXT.format(epoch, self.newest))
        known = name == f"s_{epoch}_{self.newest}.ts" or name.startswith(f"s_{epoch}_1")
        return httpx.Response(200, content=self.body) if known else httpx.Response(404)


def live(epoch: int, status: Desired = Desired.ONAIR, nonce: str = "n1") -> LiveMeta:
    return LiveMeta(
        room_id=BLUE,
        status=status,
        janus_id=J1,
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=M1,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce=nonce,
        started_at="",
    )


class Scene:
    def __init__(self, one: Manager) -> None:
        self.one = one
        self.origin = Origin()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.origin))
        self.hls = Hls(one.view, client)

    async def wish(self, wished: LiveMeta, *, taken: bool = True) -> None:
        ops = [Put(keys.room(BLUE, "livemeta"), wished.encode())]
        if taken:
            ops.append(Put(keys.room(BLUE, "mixer"), observed(Kind.MIXER, wished).encode()))
        await self.one.etcd.txn([], ops)
        await seen(self.one)

    async def ask(self, times: int = 1, name: str = "") -> list[object]:
        """The answers, or errors, of so many listeners at once."""
        answers: list[object] = []

        async def listen() -> None:
            try:
                answers.append(await self._fetch(name))
            except (NotOnAirError, NotYetError) as error:
                answers.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(times):
                tasks.start_soon(listen)
        return answers

    async def _fetch(self, name: str) -> object:
        facts = self.one.view.room(BLUE)
        return await (self.hls.segment(facts, name) if name else self.hls.playlist(facts))


@asynccontextmanager
async def scene() -> AsyncGenerator[Scene]:
    async with manager(MemoryStore(), control=False) as one:
        await put(one.etcd, keys.room(BLUE, "meta"), RoomMeta(room_id=BLUE, created_at=""))
        await put(one.etcd, keys.heartbeat(Kind.MIXER, M1), heartbeat(4))
        found = Scene(one)
        await found.wish(live(5))
        yield found


async def test_a_playlist_is_fetched_once_for_all_who_ask() -> None:
    async with scene() as s:
        answers = await s.ask(100)
        assert len(s.origin.asked) == 1
        assert {a[0] for a in answers if isinstance(a, tuple)} == {TEXT.format(5, 7)}
        assert len(answers) == 100
        await anyio.sleep(hls.PLAYLIST_SECONDS)
        await s.ask(10)
        assert len(s.origin.asked) == 2


async def test_if_the_one_who_fetches_goes_away_another_does() -> None:
    async with scene() as s, anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.05):
            tasks.start_soon(s.ask, 3)
            await s.hls.playlist(s.one.view.room(BLUE))
        assert len(await s.ask(1)) == 1
        assert len(s.origin.asked) <= 3


async def test_listeners_do_not_queue_behind_an_origin_that_hangs() -> None:
    async with scene() as s:
        s.origin.down, s.origin.takes = True, 3.0
        began = anyio.current_time()
        answers = await s.ask(50)
        assert anyio.current_time() - began < 4
        assert all(isinstance(a, NotYetError) for a in answers)


async def test_the_last_playlist_is_served_while_the_origin_is_away() -> None:
    async with scene() as s:
        await s.ask()
        s.origin.down = True
        for _ in range(3):
            await anyio.sleep(10)
            (answer,) = await s.ask()
            assert isinstance(answer, tuple)
            assert answer[0] == TEXT.format(5, 7)


async def test_the_last_playlist_bridges_a_new_epoch_of_the_same_start_only() -> None:
    async with scene() as s:
        await s.ask()
        await s.wish(live(9), taken=True)
        s.origin.down = True
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[0] == TEXT.format(5, 7)
        s.origin.down = False
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[0] == TEXT.format(9, 7)
        s.origin.down = True
        await s.wish(live(12, nonce="n2"))
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError), "another start has another key"


async def test_before_the_mixer_took_the_room_there_is_nothing_yet() -> None:
    async with scene() as s:
        await s.one.etcd.txn([], [Delete(keys.room(BLUE, "mixer"))])
        await s.wish(live(9), taken=False)
        (answer,) = await s.ask()
        assert isinstance(answer, NotYetError)
        assert s.origin.asked == []


async def test_stopping_and_stopped_rooms_say_that_they_have_ended() -> None:
    async with scene() as s:
        await s.wish(live(5, Desired.STOPPING))
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[1].ended
        ended = Ended(room_id=BLUE, mixer_id=M1, epoch=Epoch(5), nonce="n1", origin="http://origin")
        etcd = s.one.etcd
        await etcd.txn([], [Delete(keys.room(BLUE, "livemeta")), Delete(keys.room(BLUE, "mixer"))])
        await put(etcd, keys.ended(M1, BLUE), ended)
        await seen(s.one)
        (answer,) = await s.ask()
        assert isinstance(answer, tuple)
        assert answer[1].ended
        await etcd.txn([], [Delete(keys.ended(M1, BLUE))])
        await seen(s.one)
        (answer,) = await s.ask()
        assert isinstance(answer, NotOnAirError)


async def test_a_room_that_is_removed_is_silent_at_once() -> None:
    async with scene() as s:
        await s.wish(live(5, Desired.REMOVING))
        (answer,) = await s.ask()
        assert isinstance(answer, NotOnAirError)


async def test_a_segment_is_fetched_once_and_only_of_the_present_epoch() -> None:
    async with scene() as s:
        answers = await s.ask(50, "s_5_7.ts")
        assert answers == [s.origin.body] * 50
        assert s.origin.asked == ["/blue/5/s_5_7.ts"]
        (old,) = await s.ask(1, "s_4_7.ts")
        (unknown,) = await s.ask(1, "s_5_99.ts")
        assert isinstance(old, NotOnAirError)
        assert isinstance(unknown, NotOnAirError)
        s.origin.down = True
        (away,) = await s.ask(1, "s_5_1.ts")
        assert isinstance(away, NotYetError)


async def test_the_cache_of_segments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "CACHE_BYTES", 350)
    async with scene() as s:
        for n in range(10, 20):
            await s.ask(5, f"s_5_{n}.ts")
        asked = len(s.origin.asked)
        assert asked == 10
        await s.ask(1, "s_5_19.ts")
        assert len(s.origin.asked) == asked, "the newest is kept"
        await s.ask(1, "s_5_10.ts")
        assert len(s.origin.asked) == asked + 1, "the oldest is not"
        s.origin.body = b"x" * 400
        assert len(await s.ask(1, "s_5_11.ts")) == 1, "larger than the whole cache"

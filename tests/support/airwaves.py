"""A room's playlists between a replica and the mixers' origins, in memory and virtual time."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx

from mixer.cmdline import first_number
from pkg import keys
from pkg.etcd.api import Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.lifecycle import background
from pkg.model import Desired, Endpoints, Epoch, Kind, LiveMeta, Previous, RoomMeta
from roommanager.hls import Hls
from roommanager.sources import Air, NotOnAirError, NotYetError
from roommanager.view import View
from tests.support.virtual import BLUE, J1, M1, M2, heartbeat, observed, put

Answer = tuple[str, Air] | bytes | NotOnAirError | NotYetError


def listing(epoch: int, window: range, runs: tuple[int, ...] = (0,), target: int = 2) -> str:
    """What an origin serves; numbers and runs count from the epoch's first segment."""
    first = first_number(epoch)
    lines = [
        "#EXTM3U",
        f"#EXT-X-TARGETDURATION:{target}",
        f"#EXT-X-MEDIA-SEQUENCE:{first + window.start}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{sum(1 for run in runs if run < window.start)}",
    ]
    for n in window:
        lines += ["#EXT-X-DISCONTINUITY"] if n in runs else []
        lines += ["#EXTINF:2.000000,", name(epoch, n)]
    return "\n".join(lines) + "\n"


def name(epoch: int, n: int) -> str:
    return f"s_{epoch}_{first_number(epoch) + n}.ts"


class Origins:
    """All mixers' origins: what they list and were asked for, how long they take, who is down.

    ``down`` are epochs, ``dead`` hosts. ``only_at``: the one host that has an epoch, if not any.
    ``refused``: names of files.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.takes: dict[int, float] = {}
        self.down: set[int] = set()
        self.dead: set[str] = set()
        self.refused: set[str] = set()
        self.only_at: dict[int, str] = {}
        self.texts: dict[int, str] = {5: listing(5, range(8))}
        self.body = b"x" * 100

    def lists(self, epoch: int, window: range, runs: tuple[int, ...] = (0,)) -> None:
        self.texts[epoch] = listing(epoch, window, runs)

    def asked_for(self, suffix: str) -> int:
        return sum(1 for path in self.asked if path.endswith(suffix))

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        _, _, of, leaf = request.url.path.split("/")
        epoch = int(of)
        await anyio.sleep(self.takes.get(epoch, 0.01))
        if epoch in self.down or request.url.host in self.dead:
            raise httpx.ConnectTimeout("down")
        there = self.only_at.get(epoch, request.url.host) == request.url.host
        if leaf in self.refused:
            return httpx.Response(503)
        text = self.texts.get(epoch, "") if there else ""
        if leaf == "live.m3u8":
            return httpx.Response(200 if text else 404, text=text)
        return httpx.Response(200, content=self.body) if leaf in text else httpx.Response(404)


def live(
    epoch: int,
    status: Desired = Desired.ONAIR,
    *,
    nonce: str = "n1",
    seams: int = 0,
    previous: int | None = None,
) -> LiveMeta:
    """On air once. ``previous``: the epoch it takes over from."""
    before = Previous(
        mixer_id=M2, epoch=Epoch(previous or 0), slot=0, endpoints=Endpoints(origin="http://old")
    )
    return LiveMeta(
        room_id=BLUE,
        status=status,
        janus_id=J1,
        janus_epoch=Epoch(5),
        janus_slot=0,
        mixer_id=M1,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce=nonce,
        started_at="",
        on_air_at="2026-01-01T00:00:00.000Z",
        seams=seams,
        previous=before if previous is not None else None,
    )


class Waves:
    def __init__(self) -> None:
        self.etcd = MemoryEtcd(MemoryStore())
        self.view = View(self.etcd, random.Random(1))
        self.origins = Origins()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.origins), timeout=3.0)
        self.hls = Hls(self.view, client)

    async def wish(self, wished: LiveMeta, *, taken: bool = True) -> None:
        ops = [Put(keys.room(BLUE, "livemeta"), wished.encode())]
        if taken:
            ops.append(Put(keys.room(BLUE, "mixer"), observed(Kind.MIXER, wished).encode()))
        await self.etcd.txn([], ops)
        await self.seen()

    async def seen(self) -> None:
        """Wait until the replica's copy stands where etcd stands."""
        await self.view.informer.reached("/", self.etcd.store.revision)

    async def ask(self, times: int = 1, leaf: str = "") -> list[Answer]:
        """The answers, or errors, of so many listeners at once."""
        answers: list[Answer] = []

        async def listen() -> None:
            try:
                answers.append(await self._fetch(leaf))
            except (NotOnAirError, NotYetError) as error:
                answers.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(times):
                tasks.start_soon(listen)
        return answers

    async def _fetch(self, leaf: str) -> Answer:
        facts = self.view.room(BLUE)
        return await (self.hls.segment(facts, leaf) if leaf else self.hls.playlist(facts))

    async def hear(self) -> str:
        """The playlist, which there must be."""
        (answer,) = await self.ask()
        assert isinstance(answer, tuple), answer
        return answer[0]

    async def later(self, seconds: float = 2.0) -> str:
        await anyio.sleep(seconds)
        return await self.hear()


@asynccontextmanager
async def waves() -> AsyncGenerator[Waves]:
    """A room on air on epoch 5, with eight segments listed, nobody listening yet."""
    found = Waves()
    await put(found.etcd, keys.room(BLUE, "meta"), RoomMeta(room_id=BLUE, created_at=""))
    await put(found.etcd, keys.heartbeat(Kind.MIXER, M1), heartbeat(4))
    async with background(found.view.informer.run), found.hls.running():
        await found.view.informer.synced.wait()
        await found.wish(live(5))
        yield found

"""Seams as real FFmpeg leaves them: killed twice under one epoch, then another host's epoch."""

import os
import re
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from mixer import cmdline, files
from mixer.api import Mix, Running
from mixer.driver import FfmpegProcesses
from mixer.files import Layout
from mixer.origin import app
from mixer.playlist import window
from pkg.model import Epoch, ModuleId, RoomId
from roommanager.playlist import SEAM, joined, read
from tests.support.ffmpeg import HERE, end_all, free_port
from tests.support.rtp import tone

pytestmark = [pytest.mark.anyio, pytest.mark.ffmpeg]

ROOM, KEY = RoomId("blue"), b"0123456789abcdef"
SEGMENT_SECONDS = 0.5  # the tests' own patience; production has 2 s
WINDOW = 4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    monkeypatch.setattr(cmdline, "LISTED_SECONDS", WINDOW * SEGMENT_SECONDS)
    yield Layout(tmp_path / "media", tmp_path / "run")
    end_all(tmp_path / "run")


class Host:
    """A mixer's driver and origin, and what a listener was told by way of it."""

    def __init__(self, layout: Layout, epoch: int, seams: int) -> None:
        self.epoch, self.seams = Epoch(epoch), seams
        self.processes = FfmpegProcesses(
            ModuleId("m1"), layout, HERE, segment_seconds=SEGMENT_SECONDS
        )
        origin = httpx.ASGITransport(app=app(layout.media, ModuleId("m1"), SEGMENT_SECONDS))
        self.client = httpx.AsyncClient(transport=origin, base_url="http://origin")

    async def playlist(self) -> str:
        """As a room manager would serve it; empty while there is nothing to play."""
        answer = await self.client.get(f"/{ROOM}/{self.epoch}/live.m3u8")
        media = read(answer.text, self.epoch) if answer.is_success else None
        return joined(media.text, self.seams, media.target) if media else ""

    @asynccontextmanager
    async def run(self, port: int) -> AsyncGenerator[Running]:
        """An FFmpeg that is killed in the end."""
        running = await self.processes.spawn(Mix(ROOM, self.epoch, port, "n1", KEY))
        try:
            yield running
        finally:
            os.kill(running.pid, signal.SIGKILL)
            await self.processes.exited(running)


class Book:
    """Each segment's discontinuity number, which must never change."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.first = 0

    async def read_until(self, host: Host, count: int) -> None:
        """Follow the playlist until so many segments were listed in all."""
        with anyio.fail_after(45):
            while len(self.numbers) < count:
                self.note(await host.playlist())
                await anyio.sleep(0.05)

    def note(self, text: str) -> None:
        if not text:
            return
        assert "#EXT-X-TARGETDURATION:1\n" in text
        assert window(text).start >= self.first
        self.first = window(text).start
        told = re.search(r"^#EXT-X-DISCONTINUITY-SEQUENCE:([0-9]+)$", text, re.MULTILINE)
        assert told is not None
        number = int(told[1])
        for line in text.splitlines():
            number += line == SEAM
            if not line.startswith("#"):
                assert self.numbers.setdefault(line, number) == number, text


async def test_every_segment_keeps_its_discontinuity_number_over_crashes_and_hosts(
    layout: Layout,
) -> None:
    port, book, first = free_port(), Book(), Host(layout, 123_456_789, 0)
    with tone(HERE, port):
        for upto in (2, 4, 4 + 2 * WINDOW):  # and in the end the seams have left the window
            async with first.run(port) as running:
                await book.read_until(first, upto)
                look = first.processes.look(running)
            if upto == 4:
                async with first.run(port):  # killed before it published anything: no seam
                    await anyio.sleep(0.1)
        assert look.seams == 2
        second = Host(layout, 123_456_999, look.seams + 1)
        async with second.run(port):
            await book.read_until(second, len(book.numbers) + 1)
            assert "#EXT-X-DISCONTINUITY-SEQUENCE:2\n" in await second.playlist()
            await book.read_until(second, len(book.numbers) + WINDOW)
            assert "#EXT-X-DISCONTINUITY-SEQUENCE:3\n" in await second.playlist()
    numbers = list(book.numbers.values())
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2, 3}

    await first.processes.forget_key(ROOM, first.epoch)  # it has ended, and is served for a minute
    again = Host(layout, first.epoch, 0)
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:2\n" in await again.playlist()
    for host in (first, second):
        await host.processes.remove(ROOM, host.epoch)
    assert files.list_folders(layout) == []

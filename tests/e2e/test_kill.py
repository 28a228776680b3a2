"""``kill -9`` of each process of ``up`` in turn: a room on air is on air again, unasked.

A host plays and a listener listens all the while. What only controls (room manager, Janus
manager, mixer, etcd) may die without the media noticing: the same FFmpeg goes on, the tone too.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.exceptions import WebSocketException

from bench.bot import Bot, BotError
from cli import leftovers
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support import stack
from tests.support.listener import Listener
from tests.support.stack import marked, until
from tests.support.up import Running, Starter

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(300)]

RECOVERY_SECONDS = 60.0
CONTROL = ("room-manager", "janus-manager", "mixer", "etcd")
HERTZ = 440.0


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    made = Starter(tmp_path)
    yield made
    made.end()


@dataclass
class Viewer:
    """Plays from start to end of the test; no step back, no 404, whatever is killed meanwhile."""

    listener: Listener
    last: int = 0
    advanced_at: float = field(default_factory=anyio.current_time)
    stall: float = 0.0  # longest wait for a new segment since it was set to 0

    async def play(self) -> None:
        while True:
            try:
                self._note((await self.listener.playlist()).last)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 503:
                    raise
            except httpx.TransportError:
                pass  # the room manager is the one that was killed
            await anyio.sleep(0.2)

    def _note(self, last: int) -> None:
        now = anyio.current_time()
        self.stall = max(self.stall, now - self.advanced_at)
        if last > self.last:
            self.last, self.advanced_at = last, now

    async def gets(self, more: int) -> None:
        wanted = self.last + more

        async def there() -> bool:
            return self.last >= wanted

        await until(there, RECOVERY_SECONDS)


@dataclass
class Show:
    """An ``up`` with room ``blue`` on air."""

    up: Running
    http: httpx.AsyncClient
    viewer: Viewer
    hosts: AsyncExitStack

    @property
    def ffmpegs(self) -> list[int]:
        return [pid for pid, _ in marked("ONAIR_MIXER", f"mixer-{self.up.base}")]

    def pid(self, part: str) -> int:
        if part == "ffmpeg":
            return next(iter(self.ffmpegs), 0)
        return int(self.up.endpoints["pids"][part])

    async def status(self) -> str:
        try:
            answer = await self.http.get("/api/rooms/blue")
        except httpx.TransportError:
            return "no answer"
        return str(answer.json().get("status")) if answer.is_success else f"{answer.status_code}"

    async def rejoins(self) -> None:
        """The host leaves, if his Janus is still there, and joins as soon as there is a room."""
        await self.hosts.aclose()
        with anyio.fail_after(RECOVERY_SECONDS):
            while True:
                try:
                    host = await self.hosts.enter_async_context(await self._host())
                    break
                except (OSError, WebSocketException, BotError):
                    await anyio.sleep(0.1)
        await host.connected()

    async def _host(self) -> Bot:
        master = (self.up.state / "secrets" / "master").read_bytes().strip()
        etcd = EtcdClient(EtcdOptions(endpoints=(self.up.endpoints["etcd"],)))
        try:
            return await stack.host(etcd, master, "blue", HERTZ)
        finally:
            await etcd.aclose()

    async def kill(self, part: str) -> float:
        """Seconds until it is back, the room on air, and a new segment out."""
        before, began, self.viewer.stall = self.pid(part), anyio.current_time(), 0.0
        last = self.viewer.last
        os.kill(before, signal.SIGKILL)

        async def is_back() -> bool:
            back = self.pid(part) not in {0, before} and self.viewer.last > last
            return back and await self.status() == "onair"

        await until(is_back, RECOVERY_SECONDS)
        return anyio.current_time() - began


@asynccontextmanager
async def on_air(up: Running) -> AsyncIterator[Show]:
    found = up.endpoints
    own = {"Authorization": f"Bearer {found['apiKey']}"}
    async with (
        httpx.AsyncClient(base_url=found["api"], headers=own, trust_env=False, timeout=70) as http,
        httpx.AsyncClient(trust_env=False, timeout=30) as public,
        AsyncExitStack() as hosts,
    ):
        made = await http.post("/api/rooms", json={"roomId": "blue"})
        (await http.post("/api/rooms/blue/start?wait=60")).raise_for_status()
        viewer = Viewer(Listener(public, made.json()["hlsUrl"]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(viewer.play)
            await viewer.gets(1)
            yield Show(up, http, viewer, hosts)
            tasks.cancel_scope.cancel()


async def test_a_room_survives_the_death_of_each_process(
    starter: Starter, figure: Callable[[str, object], None]
) -> None:
    up = starter.up()

    async def dies(part: str, show: Show) -> None:
        began, seconds = anyio.current_time(), await show.kill(part)
        if part == "janus":  # `onair` may be old news still: that a host is heard is none
            await show.rejoins()
        await show.viewer.listener.tone(HERTZ)
        heard = anyio.current_time() - began
        wait = show.viewer.stall
        figure(
            part, f"onair {seconds:.1f} s, tone in a new segment {heard:.1f} s, stall {wait:.1f} s"
        )

    async with on_air(up) as show:
        await show.rejoins()
        await show.viewer.listener.tone(HERTZ)
        ffmpegs = show.ffmpegs
        for part in CONTROL:
            await dies(part, show)
            assert show.ffmpegs == ffmpegs, f"{part}'s death must not touch what plays"
        await dies("ffmpeg", show)
        assert len(show.ffmpegs) == 1
        await dies("janus", show)  # and its hosts with it: they have to come back
        assert await show.status() == "onair"
        gone = await show.http.delete("/api/rooms/blue")
        assert gone.status_code == 202
    up.process.send_signal(signal.SIGTERM)
    await anyio.to_thread.run_sync(up.process.wait, 60)
    assert leftovers.find(up.state.resolve()) == []

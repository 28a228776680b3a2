"""etcd frozen or dead: what can be vouched for is served, the rest refused quickly (fail static).

Then it returns: all is well within ten seconds, and nobody was restarted or moved, though every
lease of every module may have ended at once.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import anyio
import anyio.to_thread
import httpx
import pytest

from pkg.model import Heartbeat
from tests.support import stack as stacks
from tests.support.etcd import EtcdServer
from tests.support.stack import Stack

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

ROOMS = [f"r{n}" for n in range(4)]
BOUND_SECONDS = 4.5 + 10.0  # a write and its reading back, two seconds each; on a busy machine
LEASE_SECONDS = 14.0  # every lease ends
RECOVERY_SECONDS = 40.0


def _revive(etcd: EtcdServer) -> None:
    etcd.launch().wait_ready()


HOW: dict[str, tuple[Callable[[EtcdServer], None], Callable[[EtcdServer], None]]] = {
    "frozen": (EtcdServer.pause, EtcdServer.resume),
    "dead": (EtcdServer.kill, _revive),
}


async def media_of(stack: Stack, room: str) -> list[str]:
    """Playlist, key and newest segment, as a player asks for them."""
    base = httpx.URL(f"{stack.site.api_url()}/hls/{room}/live.m3u8")
    text = (await stack.public.get(base)).text
    key = text.partition('URI="')[2].partition('"')[0]
    return [str(base), *(str(base.join(name)) for name in (key, text.split()[-1]))]


CALLS = {
    "POST": ["/rooms/idle/start", "/rooms/idle/start?wait=20", "/rooms/r1/stop"],
    "DELETE": ["/rooms/r2", "/rooms/idle"],
    "GET": ["/rooms/r0", "/rooms", "/modules", "/rooms/r0/explain"],
}


async def refused(stack: Stack) -> None:
    """Every call that etcd must answer: 503, soon, and when to come back."""

    async def ask(method: str, path: str) -> None:
        with anyio.fail_after(BOUND_SECONDS):
            answer = await stack.http.request(method, f"/api{path}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), path

    async with anyio.create_task_group() as tasks:
        for method, paths in CALLS.items():
            for path in paths:
                tasks.start_soon(ask, method, path)


async def served(stack: Stack, media: list[str]) -> float:
    """How long it took."""
    began = anyio.current_time()
    for url in media:
        assert (await stack.public.get(url)).status_code == 200, url
    assert (await stack.public.get("/healthz")).status_code == 200
    return anyio.current_time() - began


async def placed(stack: Stack) -> dict[str, object]:
    """Where each room is, what runs of it, and which process each module is."""
    beats = {key: value for key, value in (await stack.keys()).items() if "/heartbeat" in key}
    return {
        "rooms": {room: await stack.live(room) for room in ROOMS},
        "instances": {key: Heartbeat.decode(value).instance_id for key, value in beats.items()},
        "ffmpegs": stack.ffmpegs(),
        "bridges": sorted(await stack.janus_rooms()),
    }


async def away(stack: Stack, how: str) -> None:
    """For longer than a lease; then back."""
    etcd, (leave, come_back) = stack.etcds[0], HOW[how]
    waits: list[float] = []
    leave(etcd)
    try:
        began = anyio.current_time()
        await refused(stack)
        while anyio.current_time() < began + LEASE_SECONDS:
            waits.append(await served(stack, await media_of(stack, "r0")))
            await anyio.sleep(0.5)
        assert median(waits) < 1, "media waits for etcd"
        await refused(stack)
    finally:
        await anyio.to_thread.run_sync(come_back, etcd)
    with anyio.fail_after(RECOVERY_SECONDS):
        await stack.ready()
        for room in ROOMS:
            await stack.becomes(room, "onair")


async def test_away_for_longer_than_a_lease_and_back(tmp_path: Path) -> None:
    """Each way on a stack of its own, side by side: there is little to do but to wait."""

    async def lives_through(how: str) -> None:
        (tmp_path / how).mkdir()
        async with stacks.running(
            tmp_path / how, "", "/away", mixers=2, januses=2, etcds=1
        ) as stack:
            for room in ROOMS:
                await stack.create(room)
                await stack.start(room)
            await stack.create("idle")
            before = await placed(stack)
            await away(stack, how)
            assert await placed(stack) == before, how
            assert await stack.status("idle") == "idle", "a refused start was not done later"

    async with anyio.create_task_group() as tasks:
        for how in HOW:
            tasks.start_soon(lives_through, how)

"""Janus's admin API slow, garbled or cut off: F11, F13. No listener notices; REST says it.

An answer that never came may belong to a request that was carried out: nothing is there twice.
"""

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import anyio
import pytest

from chaos.player import Player
from tests.support import proof, view
from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.proxy import Proxy, proxied
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

SLOW_SECONDS = 2.0
BROKEN_SECONDS = 5.0  # longer than a request's deadline
STARTED_SECONDS = 4 * SLOW_SECONDS + view.SLACK_SECONDS  # list, create, list, forward

GARBAGE = {
    "truncated": b'\x81\x08{"janus"',  # a whole frame of a WebSocket: text of 8 bytes
    "no WebSocket": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace) as running:
        yield running


@pytest.fixture
async def proxy(stack: Stack) -> AsyncGenerator[Proxy]:
    """Between Janus and its manager."""
    host = stack.janus_hosts[0]
    async with proxied(host.place.janus.admin_ws_port) as proxy:
        host.manager.kill()
        url = proxy.url.replace("http", "ws")
        host.manager.reconfigure({"ONAIR_JANUS_MANAGER_ADMIN_URL": url})
        host.manager.start()
        await stack.ready()
        yield proxy


async def begin(stack: Stack, room: str) -> None:
    """Asked for while the module still counts as healthy."""
    await stack.create(room)
    await stack.call("POST", f"/rooms/{room}/start")


async def plays(stack: Stack, room: str) -> bool:
    """Both halves are as they should be, whatever is held of their modules."""
    observed = (await stack.call("GET", f"/rooms/{room}/explain"))["observed"]
    found = {half: state["status"] for half, state in observed.items()}
    return found == {"janus": "forwarding", "mixer": "publishing"}


async def slow(stack: Stack, proxy: Proxy, rooms: list[str]) -> None:
    """F11: rooms start slowly, beside each other, and nobody else is disturbed."""
    proxy.delay = SLOW_SECONDS
    began = anyio.current_time()
    for room in rooms:
        await begin(stack, room)
    for room in rooms:
        await until(partial(plays, stack, room), within=STARTED_SECONDS)
    print(f"\nF11 {len(rooms)} rooms play after {anyio.current_time() - began:.1f} s")
    assert await stack.status("blue") == "onair"
    await view.module_is(stack, stack.site.janus_id, "healthy", "")
    proxy.delay = 0.0


async def garbled(stack: Stack, proxy: Proxy, what: str) -> None:
    """F13: a room is being started just then; afterwards it is there once."""
    room = what.replace(" ", "-").lower()
    proxy.instead = GARBAGE[what]
    await begin(stack, room)
    await anyio.sleep(BROKEN_SECONDS)
    await view.told(stack, "blue", "degraded", "says it is unhealthy", "no other janus")
    await view.module_is(stack, stack.site.janus_id, "unhealthy", "Janus")
    proxy.instead = None
    print(f"F13 {what}: on air {await view.told(stack, room, 'onair'):.1f} s later")


async def closing(stack: Stack, proxy: Proxy, rooms: list[str]) -> None:
    """F13: the connection is cut all the while."""
    for room in rooms:
        await begin(stack, room)
    with anyio.move_on_after(BROKEN_SECONDS):
        while True:
            proxy.cut()
            await anyio.sleep(0.05)
    for room in rooms:
        await view.told(stack, room, "onair")


async def test_nothing_on_air_notices_and_nothing_is_there_twice(
    stack: Stack, proxy: Proxy
) -> None:
    witness = await view.on_air(stack, "blue")
    ffmpegs = stack.ffmpegs()["blue"]
    async with proof.player(stack, "blue") as player, witness.watching():
        moment = player.now()
        await slow(stack, proxy, ["slow-1", "slow-2", "slow-3"])
        await _is_well(stack, player)
        for what in GARBAGE:
            await garbled(stack, proxy, what)
            await _is_well(stack, player)
        await closing(stack, proxy, ["cut-1", "cut-2"])
        await witness.settles()
        await view.loses(player, moment, view.NO_SEGMENT_SECONDS)
    assert witness.findings == []
    assert stack.ffmpegs()["blue"] == ffmpegs
    log = stack.janus_manager.log_path.read_text()
    assert "janus_room.destroyed" not in log, "a room stood twice for a while"
    assert len(set(await stack.janus_rooms())) == len(await stack.janus_rooms()) == 8


async def _is_well(stack: Stack, player: Player) -> None:
    await stack.ready()
    await player.hears_on(player.now())

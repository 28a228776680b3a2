"""From start to the first segment that a player could play, and to the status ``onair``."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import anyio

from bench import http
from bench.stack import Stack

POLL_SECONDS = 0.02
ROOM_SECONDS = 20.0


@dataclass(slots=True)
class Times:
    """Seconds from the start's sending, one figure a run."""

    playable: list[float] = field(default_factory=list)
    on_air: list[float] = field(default_factory=list)


async def measure(stack: Stack, runs: int, told: Callable[[], None]) -> Times:
    """Raises TimeoutError if a room does not come on air."""
    found = Times()
    async with (
        http.connected(stack.site.api_url, stack.api_key) as caller,
        http.connected(stack.site.api_url, "") as player,
        http.connected(stack.site.api_url, stack.api_key) as asker,
    ):
        for run in range(runs):
            room = f"bench-{run}"
            await caller.must("POST", "/api/rooms", f'{{"roomId": "{room}"}}')
            began = perf_counter()
            with anyio.fail_after(ROOM_SECONDS):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_playable, player, room, began, found.playable)
                    tasks.start_soon(_until_on_air, asker, room, began, found.on_air)
                    await caller.must("POST", f"/api/rooms/{room}/start")
            await caller.must("DELETE", f"/api/rooms/{room}")
            await _until_gone(caller, room)
            told()
    return found


async def _until_playable(
    player: http.Connection, room: str, began: float, kept: list[float]
) -> None:
    """As a player: the playlist on the public address, then the segment it lists."""
    while True:
        status, text = await player.ask("GET", f"/hls/{room}/live.m3u8")
        segment = re.search(rb"^s_[0-9]+_[0-9]+\.ts", text, re.MULTILINE)
        if status == 200 and segment:
            await player.must("GET", f"/hls/{room}/{segment[0].decode()}")
            kept.append(perf_counter() - began)
            return
        await anyio.sleep(POLL_SECONDS)


async def _until_on_air(asker: http.Connection, room: str, began: float, kept: list[float]) -> None:
    while True:
        if b'"status":"onair"' in await asker.must("GET", f"/api/rooms/{room}"):
            kept.append(perf_counter() - began)
            return
        await anyio.sleep(POLL_SECONDS)


async def _until_gone(caller: http.Connection, room: str) -> None:
    with anyio.fail_after(ROOM_SECONDS):
        while True:
            status, _ = await caller.ask("GET", f"/api/rooms/{room}")
            if status == 404:
                return
            await anyio.sleep(POLL_SECONDS)

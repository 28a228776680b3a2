"""Impatient users: calls repeated, crossed with their opposites, sent before the last ended."""

from functools import partial
from typing import Any

import anyio
import pytest

from tests.support.stack import Stack, until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_two_lives_on_air_quickly_after_each_other(stack: Stack) -> None:
    await stack.create("blue")
    epochs = []
    for _ in range(2):
        started = await stack.call("POST", "/rooms/blue/start")  # waits for the last stop
        assert started["status"] == "starting"
        epochs.append(started["epoch"])
        stopped = await stack.call("POST", "/rooms/blue/stop")
        assert (stopped["status"], stopped["epoch"]) == ("stopping", started["epoch"])
    assert epochs[0] < epochs[1]
    onair = await stack.start("blue")
    assert onair["status"] == "onair"
    assert onair["epoch"] > epochs[1]
    assert {room: len(pids) for room, pids in stack.ffmpegs().items()} == {"blue": 1}
    assert len(await stack.janus_rooms()) == 1
    await stack.call("DELETE", "/rooms/blue", 202)
    await stack.nothing_remains()


async def test_a_start_waits_for_the_stop_before_it(stack: Stack) -> None:
    await stack.create("blue")
    first = await stack.start("blue")
    found: list[dict[str, Any]] = []

    async def start() -> None:
        found.append(await stack.start("blue"))

    async def has_answered() -> bool:
        return bool(found)

    stack.mixer.pause()  # nothing can end meanwhile
    try:
        await stack.call("POST", "/rooms/blue/stop")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            with pytest.raises(TimeoutError):
                await until(has_answered, 1.0)
            assert await stack.status("blue") == "stopping"
            stack.mixer.resume()
    finally:
        stack.mixer.resume()
    assert (found[0]["status"], found[0]["epoch"] > first["epoch"]) == ("onair", True)


async def is_over(stack: Stack, url: str) -> bool:
    return (await stack.public.get(url)).status_code == 404


@pytest.mark.parametrize("stack", [2], indirect=True)
async def test_what_one_room_manager_answered_the_other_knows(stack: Stack) -> None:
    other = stack.site.api_url(1)
    for room in ("blue", "red", "green"):
        await stack.create(room)
        url = f"{other}/hls/{room}/live.m3u8"
        assert (await stack.public.get(url)).json()["code"] == "not-on-air"
        await stack.call("POST", f"/rooms/{room}/start")
        early = await stack.public.get(url)
        assert early.status_code in {200, 503}, "on its way, or there; 404 would send players away"
        twin = await stack.http.post(f"{other}/api/rooms/{room}/start?wait=45")
        assert twin.json()["status"] == "onair"
        assert (await stack.public.get(url)).status_code == 200
        assert (await stack.http.delete(f"{other}/api/rooms/{room}")).status_code == 202
        await until(partial(is_over, stack, f"/hls/{room}/live.m3u8"))
    await stack.nothing_remains()


async def test_start_repeated_changes_nothing(stack: Stack) -> None:
    await stack.create("blue")
    first = await stack.call("POST", "/rooms/blue/start")
    second = await stack.call("POST", "/rooms/blue/start")
    same = ("epoch", "startedAt", "hlsUrl", "createdAt")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert (await stack.start("blue"))["epoch"] == first["epoch"]

    async def is_marked() -> bool:
        return "onAirAt" in await stack.call("GET", "/rooms/blue")

    await until(is_marked)
    before, pids = await stack.keys(), stack.ffmpegs()
    assert await stack.call("POST", "/rooms/blue/start") == await stack.start("blue")
    assert (await stack.keys(), stack.ffmpegs()) == (before, pids)


async def test_starts_at_once_are_one_start(stack: Stack) -> None:
    await stack.create("blue")
    found: list[dict[str, Any]] = []

    async def start() -> None:
        found.append(await stack.start("blue"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(start)
    assert {(room["epoch"], room["status"]) for room in found} == {(found[0]["epoch"], "onair")}
    slots = [key for key in await stack.keys() if "/slots/" in key]
    assert len(slots) == 2


async def test_delete_while_starting_leaves_nothing(stack: Stack) -> None:
    for pause in (0.0, 0.05, 0.3, 1.0):
        await stack.create("blue")
        await stack.call("POST", "/rooms/blue/start")
        await anyio.sleep(pause)  # the very thing that is tested: at each stage of a start
        await stack.call("DELETE", "/rooms/blue", 202)
        await stack.becomes("blue", "gone")
        await stack.nothing_remains()


async def test_stop_while_starting_keeps_no_playlist(stack: Stack) -> None:
    url = (await stack.create("blue"))["hlsUrl"]
    await stack.call("POST", "/rooms/blue/start")
    await stack.call("POST", "/rooms/blue/stop")
    await stack.call("POST", "/rooms/blue/stop")
    await stack.becomes("blue", "idle")
    assert (await stack.public.get(url)).status_code == 404
    assert await stack.call("POST", "/rooms/blue/stop") == await stack.call("GET", "/rooms/blue")


async def test_delete_repeated_and_refusals_while_removing(stack: Stack) -> None:
    await stack.create("blue")
    assert (await stack.call("POST", "/rooms", 409, json={"roomId": "blue"}))["code"] == (
        "room-exists"
    )
    await stack.start("blue")
    stack.mixer.pause()  # so that removing takes as long as the test needs
    try:
        for _ in range(3):
            removing = await stack.call("DELETE", "/rooms/blue", 202)
            assert removing["status"] == "removing"
        refused = await stack.call("POST", "/rooms/blue/start", 409)
        assert refused["code"] == "room-removing"
        assert (await stack.call("GET", "/rooms/blue"))["status"] == "removing"
    finally:
        stack.mixer.resume()
    await stack.becomes("blue", "gone")
    gone = await stack.call("DELETE", "/rooms/blue", 404)
    assert gone["code"] == "room-not-found"
    await stack.nothing_remains()

"""Wishes made while a part is away: they hold, and are fulfilled once it is back."""

import pytest

from tests.support.listener import Listener
from tests.support.stack import Stack, until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_a_room_deleted_while_its_modules_are_dead_leaves_nothing(stack: Stack) -> None:
    await stack.create("blue")
    await stack.start("blue")
    (pid,) = stack.ffmpegs()["blue"]
    stack.mixer.kill()
    stack.janus_manager.kill()
    await stack.call("DELETE", "/rooms/blue", 202)
    assert await stack.status("blue") == "removing"
    assert stack.ffmpegs() == {"blue": [pid]}, "media goes on without the control plane"
    stack.mixer.start()
    stack.janus_manager.start()
    await stack.becomes("blue", "gone")
    await stack.nothing_remains()


async def _no_ffmpeg(stack: Stack) -> bool:
    return stack.ffmpegs() == {}


async def test_a_restarted_room_gets_a_new_ffmpeg_after_its_mixer_was_dead(stack: Stack) -> None:
    url = (await stack.create("blue"))["hlsUrl"]
    first = await stack.start("blue")
    listener = Listener(stack.public, url)
    await listener.playing()
    (pid,) = stack.ffmpegs()["blue"]
    stack.mixer.kill()
    await stack.call("POST", "/rooms/blue/stop")
    stack.mixer.start()
    await stack.becomes("blue", "idle")
    # one who came back after his lease (two busy cores) finds an FFmpeg that nobody knows of
    await until(lambda: _no_ffmpeg(stack), within=60)
    await stack.ready()
    second = await stack.start("blue")
    assert second["epoch"] > first["epoch"]
    assert stack.ffmpegs()["blue"] != [pid]
    await listener.playing()  # and no number went back


async def test_a_room_whose_janus_died_says_so_and_comes_back_with_it(stack: Stack) -> None:
    await stack.create("blue")
    await stack.start("blue")
    stack.janus.kill()
    await stack.becomes("blue", "degraded")
    told = await stack.call("GET", "/rooms/blue/explain")
    assert f"anus {stack.site.janus_id} is not well" in told["reason"]

    async def mixer_says_so_too() -> bool:
        told = await stack.call("GET", "/rooms/blue/explain")
        return f"ixer {stack.site.mixer_id} gets no sound" in told["reason"]

    await until(mixer_says_so_too)
    late = await stack.call("POST", "/rooms/blue/start?wait=1", 504)
    assert (late["code"], late["explain"]["status"]) == ("not-yet-onair", "degraded")
    stack.janus.start()
    await stack.becomes("blue", "onair")
    assert len(await stack.janus_rooms()) == 1

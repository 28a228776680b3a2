"""What a host plays in a room is what that room's listeners hear, and nobody else."""

from collections.abc import Callable

import pytest

from tests.support.listener import Listener
from tests.support.stack import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

BLUE, RED = 440.0, 1000.0


async def test_two_rooms_play_their_own_tones_and_fall_silent(
    stack: Stack, figure: Callable[[str, object], None]
) -> None:
    listeners = {}
    for room in ("blue", "red"):
        url = (await stack.create(room))["hlsUrl"]
        await stack.start(room)
        listeners[room] = Listener(stack.public, url)
    blue, red = listeners["blue"], listeners["red"]

    async with await stack.bot("blue", BLUE) as host, await stack.bot("red", RED) as other:
        await host.connected()
        await other.connected()
        heard_blue, heard_red = await blue.tone(BLUE), await red.tone(RED)
    figure("blue's peak", heard_blue.peak)
    figure("red's peak", heard_red.peak)
    assert heard_blue.level(RED) < -60, "the other room's tone"
    assert heard_red.level(BLUE) < -60, "the other room's tone"
    assert set(blue.keys.values()).isdisjoint(red.keys.values())

    for listener in (blue, red):
        silent = await listener.silence()
        later = [await listener.hear(s) for s in (await listener.playlist()).segments]
        assert all(s.peak[1] < -60 for s in later if s.sequence > silent.sequence)
    assert {await stack.status(room) for room in ("blue", "red")} == {"onair"}

"""Janus dies or freezes while its manager lives: F9, F10 of the fault list.

Back at once, its rooms are made anew under their numbers; else they move. FFmpeg goes on if the
Janus is surely dead; a frozen one may send again, so the mixer takes another port (I5).
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from chaos.player import Player
from tests.support import proof, view
from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

BACK_SECONDS = 5.0 + view.SLACK_SECONDS
# Noticed within 5 s, ill for 5 s; then a forwarder, or a new FFmpeg with its first segment.
MOVED_SECONDS = 5.0 + 5.0 + 4.0 + view.SLACK_SECONDS
FROZEN_SECONDS = 15.0


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace, januses=2) as running:
        yield running


async def number_of(stack: Stack) -> int:
    number: int = (await view.observed(stack, "blue", "janus"))["janusRoomId"]
    return number


async def has_one_room(stack: Stack) -> bool:
    return len(await stack.janus_rooms()) == 1


async def restarted_at_once(stack: Stack, player: Player) -> None:
    """F9: as a supervisor does. Same Janus, same number, same FFmpeg on the same port."""
    host, number = await stack.janus_of("blue"), await number_of(stack)
    before = stack.ffmpegs()["blue"], (await stack.live("blue")).epoch
    moment = player.now()
    host.janus.kill()
    await anyio.to_thread.run_sync(host.janus.start)
    print("\nF9 restarted: audio lost", await view.loses(player, moment, BACK_SECONDS))
    await view.told(stack, "blue", "onair")
    assert (await number_of(stack), await stack.janus_of("blue")) == (number, host)
    assert (stack.ffmpegs()["blue"], (await stack.live("blue")).epoch) == before


async def frozen(stack: Stack, player: Player) -> None:
    """F10: it may wake up and send on, so the mixer's half is begun anew, too."""
    host, before = await stack.janus_of("blue"), await stack.live("blue")
    moment = player.now()
    host.janus.pause()
    try:
        await view.told(stack, "blue", "degraded")
        print("F10 frozen: on air after", await view.told(stack, "blue", "onair"))
        print("F10 audio lost", await view.loses(player, moment, MOVED_SECONDS))
        await anyio.sleep_until(moment.loop + FROZEN_SECONDS)
    finally:
        host.janus.resume()
    after = await stack.live("blue")
    assert after.janus_id != host.module_id
    assert (after.mixer_id, after.mixer_epoch > before.mixer_epoch) == (before.mixer_id, True)


async def gone(stack: Stack, player: Player) -> None:
    """F9: nobody starts it again. Its room moves; FFmpeg stays with its port."""
    host, before = await stack.janus_of("blue"), stack.ffmpegs()["blue"]
    epoch, moment = (await stack.live("blue")).mixer_epoch, player.now()
    host.janus.kill()
    await view.told(stack, "blue", "degraded")
    print("F9 gone: on air after", await view.told(stack, "blue", "onair"))
    print("F9 audio lost", await view.loses(player, moment, MOVED_SECONDS))
    assert await stack.janus_of("blue") is not host
    assert (stack.ffmpegs()["blue"], (await stack.live("blue")).mixer_epoch) == (before, epoch)
    await view.module_is(stack, host.module_id, "unhealthy", "Janus")
    await anyio.to_thread.run_sync(host.janus.start)


async def test_a_janus_alone_dies_or_freezes(stack: Stack) -> None:
    witness = await view.on_air(stack, "blue")
    async with proof.player(stack, "blue") as player, witness.watching():
        for fault in (restarted_at_once, frozen, gone):
            moment = player.now()
            await fault(stack, player)
            await stack.ready()
            await until(lambda: has_one_room(stack))
            assert player.report(moment).wrong == [], fault
        # What the frozen one's mixer epoch listed is kept for half a minute.
        print(f"settled {await witness.settles():.1f} s later")
    assert witness.findings == []

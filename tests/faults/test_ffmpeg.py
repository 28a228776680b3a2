"""FFmpeg without sound, fed by another source, cut off or stuck: F6, F8, F29 of the fault list.

Beside it all, what Onair did not make stays as it is, over several sweeps (I10). That FFmpeg is
killed (F5) is in ``test_failover``.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from chaos.player import Player
from chaos.witness import Witness
from tests.support import admin, proof, rtp, strangers, view
from tests.support import stack as stacks
from tests.support.deaf import deafened
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.ffmpeg import HERE
from tests.support.freeze import freeze
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

NOTICED_SECONDS = 6.0 + view.SLACK_SECONDS  # three segments
SWEEPS_SECONDS = 22.0  # two of each module
OTHER_SOURCE_SECONDS = 4.0
STARVED = ("gets no sound from Janus", "no RTP for 5 s")


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace, mixers=2) as running:
        yield running


async def without_a_forwarder(stack: Stack, player: Player) -> None:
    """F6, while its manager looks elsewhere; the manager's next sweep brings it back."""
    stack.janus_manager.pause()
    try:
        await admin.drop_forwarders(stack, stack.janus_hosts[0], "blue")
        print("\nF6 no RTP: told after", await view.told(stack, "blue", "degraded", *STARVED))
    finally:
        stack.janus_manager.resume()
    print("F6 on air again after", await view.told(stack, "blue", "onair"))


async def another_source(stack: Stack, player: Player) -> None:
    """Another SSRC, and its clock begins elsewhere; then the old one is back, and goes on."""
    moment = player.now()
    stack.janus_manager.pause()
    try:
        await admin.drop_forwarders(stack, stack.janus_hosts[0], "blue")
        port = (await view.observed(stack, "blue", "mixer"))["port"]
        with rtp.tone(HERE, port, ssrc=0xCAFE):
            await anyio.sleep(OTHER_SOURCE_SECONDS)
    finally:
        stack.janus_manager.resume()
    await anyio.sleep(OTHER_SOURCE_SECONDS)
    lost = await view.loses(player, moment, view.SLACK_SECONDS)
    print("SSRC changed twice: audio lost", lost)
    await view.told(stack, "blue", "onair")


async def cut_off(stack: Stack, player: Player) -> None:
    """F29: what Janus sends does not arrive; both think that all is well with them."""
    (pid,) = stack.ffmpegs()["blue"]
    with deafened(pid, (await view.observed(stack, "blue", "mixer"))["port"]):
        seconds = await view.told(stack, "blue", "degraded", *STARVED)
        assert seconds < NOTICED_SECONDS
        print("F29 RTP lost: told after", seconds)
    print("F29 on air again after", await view.told(stack, "blue", "onair"))
    assert stack.ffmpegs()["blue"] == [pid]


async def stuck(stack: Stack, player: Player) -> None:
    """F8: SIGSTOP."""
    (pid,) = stack.ffmpegs()["blue"]
    moment = player.now()
    freeze(pid)

    async def replaced() -> bool:
        return stack.ffmpegs().get("blue") not in (None, [pid])

    await until(replaced, NOTICED_SECONDS)
    print("F8 SIGSTOP: replaced after", anyio.current_time() - moment.loop)
    print("F8 audio lost", await view.loses(player, moment, NOTICED_SECONDS))
    await view.told(stack, "blue", "onair")


async def test_rooms_get_over_it_and_strangers_are_left_alone(stack: Stack) -> None:
    witness = await view.on_air(stack, "blue", "red")
    began, other = anyio.current_time(), stack.ffmpegs()["red"]
    async with strangers.planted(stack, witness, "blue") as beside:
        async with proof.player(stack, "blue") as player, witness.watching():
            for fault in (without_a_forwarder, another_source, cut_off, stuck):
                moment = player.now()
                await fault(stack, player)
                await witness.settles()
                await player.hears_on(player.now())
                told = player.report(moment)
                assert (told.reloads, told.unfetchable, told.wrong) == (0, 0, []), fault
        await _settles_after_sweeps(witness, began)
        assert beside.are_left()
        assert await admin.has_planted_forwarder(stack, stack.janus_hosts[0], "blue")
    assert witness.findings == []
    assert stack.ffmpegs()["red"] == other


async def _settles_after_sweeps(witness: Witness, began: float) -> None:
    await anyio.sleep_until(began + SWEEPS_SECONDS)
    await witness.settles()

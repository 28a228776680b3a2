"""What plays dies: FFmpeg, a mixer's machine, a Janus's machine. The room goes on elsewhere.

Nobody reloads, the playlists stay in order (I12), and the five lists agree afterwards, with the
dead machine away and after it came back (I5, I7, I8).
"""

import pytest

from chaos.player import Moment, Player
from chaos.witness import Witness
from tests.support import proof
from tests.support.stack import Stack
from tests.support.view import SLACK_SECONDS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]
FFMPEG_SECONDS, MACHINE_SECONDS = 5.0 + SLACK_SECONDS, 16.0 + SLACK_SECONDS


@pytest.fixture
async def witness(stack: Stack) -> Witness:
    """Two rooms are on air, and noted."""
    found = proof.witness(stack)
    for room in ("blue", "red"):
        await stack.create(room)
        found.ledger.answered(room, "create", 201)
        await stack.start(room)
        found.ledger.answered(room, "start", 200)
    await found.settles()
    return found


async def _loses(player: Player, moment: Moment, at_most: float) -> None:
    """Nothing but so many seconds."""
    await player.hears_on(player.now())
    told = player.report(moment)
    assert (told.reloads, told.unfetchable, told.wrong) == (0, 0, []), told
    assert max(told.silence, told.missing) <= at_most, told


async def test_ffmpeg_dies(stack: Stack, witness: Witness) -> None:
    async with proof.player(stack, "blue") as player, witness.watching():
        moment = player.now()
        (await stack.mixer_of("blue")).kill_ffmpeg("blue")
        await _loses(player, moment, FFMPEG_SECONDS)
        await witness.settles()
    assert witness.findings == []


async def test_a_mixers_machine_dies_and_comes_back(stack: Stack, witness: Witness) -> None:
    async with proof.player(stack, "blue") as player, witness.watching():
        dead, moment = await stack.mixer_of("blue"), player.now()
        dead.kill_host()
        await _loses(player, moment, MACHINE_SECONDS)
        await witness.settles()
        assert await stack.mixer_of("blue") is not dead
        dead.start()
        await stack.ready()
        await witness.settles()
        told = player.report(moment)
        assert (told.reloads, told.wrong) == (0, [])
    assert witness.findings == []


async def test_a_januses_machine_dies_and_comes_back(stack: Stack, witness: Witness) -> None:
    async with proof.player(stack, "blue") as player, witness.watching():
        dead, moment = await stack.janus_of("blue"), player.now()
        ffmpegs = stack.ffmpegs()["blue"]
        dead.kill_host()
        await _loses(player, moment, MACHINE_SECONDS)
        await stack.becomes("blue", "onair")
        # If its manager still came to say that Janus is gone, the room had left before the lease:
        # then two sweeps of housekeeping free the place.
        await witness.settles(within=75.0)
        assert await stack.janus_of("blue") is not dead
        assert stack.ffmpegs()["blue"] == ffmpegs, "a dead Janus must not cost the mixer its FFmpeg"
        dead.start()
        await stack.ready()
        await witness.settles()
        assert player.report(moment).wrong == []
    assert witness.findings == []

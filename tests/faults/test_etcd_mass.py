"""etcd freezes until every lease is gone, and two of three mixers really die meanwhile.

Nothing is moved until those who only lost their lease had time to come back; then the rooms of the
dead move, slowly, and no others (I9).
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from pkg.heartbeat import TTL_SECONDS
from pkg.model import Kind
from tests.support import history, proof
from tests.support import stack as stacks
from tests.support.stack import Stack, until
from tests.support.view import NO_SEGMENT_SECONDS, loses, on_air, told

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

ROOMS = [f"r{n}" for n in range(6)]
FROZEN_SECONDS = 12.0  # every lease ends
PACE_SECONDS = 1.0  # between two moves, after a loss of many


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/mass", mixers=3, januses=2, etcds=1) as running:
        yield running


async def test_only_the_rooms_of_the_dead_move_and_slowly(stack: Stack) -> None:
    """Two dead ones are a mass loss even if the third is back before anybody looks."""
    witness = await on_air(stack, *ROOMS)
    alive = await stack.mixer_of(ROOMS[0])
    dead = [mixer for mixer in stack.mixers if mixer is not alive]
    kept = [room for room in ROOMS if await stack.mixer_of(room) is alive]
    lost = sorted(set(ROOMS) - set(kept))
    assert lost
    running = {room: stack.ffmpegs()[room] for room in kept}

    async def all_moved() -> bool:
        return all([await stack.mixer_of(room) is alive for room in lost])

    async with proof.player(stack, kept[0]) as player, witness.watching():
        moment = player.now()
        stack.etcds[0].pause()
        for mixer in dead:
            mixer.kill_host()
        await anyio.sleep(FROZEN_SECONDS)
        back = anyio.current_time()
        stack.etcds[0].resume()
        await until(lambda: _answers(stack))
        await told(stack, lost[0], "onair", "many vanished together")
        assert history.moves(await history.told(stack.etcd, since=1), Kind.MIXER) == []
        await until(all_moved, within=TTL_SECONDS + 30)
        took = anyio.current_time() - back
        await witness.settles()
        await loses(player, moment, NO_SEGMENT_SECONDS)
    print(f"\n{len(lost)} rooms moved {took:.1f} s after etcd's return")
    assert took >= TTL_SECONDS - 1 + PACE_SECONDS * (len(lost) - 1)
    await moved_only(stack, lost)
    assert {room: stack.ffmpegs()[room] for room in kept} == running
    assert witness.findings == []


async def moved_only(stack: Stack, lost: list[str]) -> None:
    written = await history.told(stack.etcd, since=1)
    assert {room for _, room in history.moves(written, Kind.MIXER)} == set(lost)
    assert history.moves(written, Kind.JANUS) == []
    assert history.stale(written) == []


async def _answers(stack: Stack) -> bool:
    return (await stack.http.get("/api/rooms")).status_code == 200

"""One mixer and its etcd: a slow, a resetting and a deaf connection, compaction meanwhile.

It answers when asked directly, so its rooms stay and it gets no new ones (F25, F27, F28); it comes
back by itself and learns what it missed.
"""

import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from chaos.witness import Witness
from pkg import keys
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Kind, ModuleId
from tests.support import history, proof
from tests.support import stack as stacks
from tests.support.hosts import MixerHost
from tests.support.proxy import Proxy, proxied
from tests.support.stack import Stack, until
from tests.support.view import NO_SEGMENT_SECONDS, begin, loses, mark, on_air, told

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

SLOW_SECONDS = 0.2  # each answer
STORM_SECONDS = 4.0


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/cut", mixers=2, etcds=1) as running:
        yield running


async def created(stack: Stack, mixer: MixerHost) -> int | None:
    """The revision at which it registered; None while it has no lease."""
    found = await stack.etcd.get(keys.heartbeat(Kind.MIXER, ModuleId(mixer.module_id)))
    return found.create_revision if found else None


async def test_a_mixer_is_cut_off_from_etcd(stack: Stack) -> None:
    mixer, other = stack.mixers
    async with proxied(stack.etcds[0].port) as proxy:
        mixer.kill()
        mixer.tell(ONAIR_ETCD_ENDPOINTS=proxy.url)
        mixer.start()
        await mark(stack, "mixer", other.module_id, "disabled")
        await stack.ready()
        proxy.delay = SLOW_SECONDS
        witness = await on_air(stack, "blue", "red")  # on the slow one: the other takes none
        await mark(stack, "mixer", other.module_id, "ready")
        async with proof.player(stack, "blue") as player, witness.watching():
            moment = player.now()
            await resets(stack, mixer, proxy)
            await deaf(stack, mixer, proxy, witness)
            await witness.settles()
            await loses(player, moment, NO_SEGMENT_SECONDS)
    assert await stack.mixer_of("blue") is mixer
    assert sorted(mixer.ffmpegs()) == ["blue"]
    assert "red" not in stack.ffmpegs()
    assert witness.findings == []


async def resets(stack: Stack, mixer: MixerHost, proxy: Proxy) -> None:
    """Every connection is cut again and again, which costs it no lease."""
    proxy.delay = 0.0
    before = await created(stack, mixer)
    over = anyio.current_time() + STORM_SECONDS
    while anyio.current_time() < over:
        proxy.cut()
        await anyio.sleep(0.2)
    await stack.ready()
    assert await created(stack, mixer) == before


async def deaf(stack: Stack, mixer: MixerHost, proxy: Proxy, witness: Witness) -> None:
    """It hears nothing of etcd, while a room of its own ends and what it missed is compacted."""
    ffmpegs = mixer.ffmpegs()
    proxy.deaf = True

    async def lost() -> bool:
        return await created(stack, mixer) is None

    await until(lost, TTL_SECONDS + 30.0)
    await told(stack, "blue", "onair", "its lease is gone, but it answers when asked directly")
    await begin(stack, witness, "green")
    assert await stack.mixer_of("green") is not mixer, "it has no lease"
    await stack.call("POST", "/rooms/red/stop")
    witness.ledger.answered("red", "stop", 200)
    assert history.stale(await history.told(stack.etcd, since=1)) == []
    revision = (await stack.etcd.status()).revision
    compact(stack, revision)
    assert mixer.ffmpegs() == ffmpegs, "nothing of what runs depends on etcd"
    proxy.deaf = False
    proxy.cut()
    await stack.ready()
    await stack.becomes("red", "idle")
    await told(stack, "blue", "onair", "The room is on air.")
    assert mixer.ffmpegs() == {"blue": ffmpegs["blue"]}
    assert history.moves(await history.told(stack.etcd, since=revision), Kind.MIXER) == []


def compact(stack: Stack, revision: int) -> None:
    argv = ["etcdctl", "--endpoints", stack.etcds[0].url, "compact", str(revision)]
    subprocess.run(argv, env={"ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60)

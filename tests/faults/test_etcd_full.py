"""etcd has no room left (NOSPACE): what runs goes on, REST says why it writes nothing (F30).

A module that has something to say and cannot lets its lease go: what it said last is not true.
"""

import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pkg import keys
from pkg.etcd.api import Put, StorageFullError, commit
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Kind, ModuleId
from tests.support import proof
from tests.support import stack as stacks
from tests.support.etcd import EtcdServer
from tests.support.stack import Stack, until
from tests.support.view import NO_SEGMENT_SECONDS, begin, loses, on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

QUOTA_BYTES = 16 * 1024 * 1024
JUNK_BYTES = 1024 * 1024
LETS_GO_SECONDS = 2 * TTL_SECONDS + 30.0  # a TTL of refusals, then the lease itself


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    with EtcdServer(extra=[f"--quota-backend-bytes={QUOTA_BYTES}"]) as server:
        async with stacks.running(tmp_path, server.url, "/full", januses=2) as running:
            yield running


def etcdctl(stack: Stack, *words: str) -> None:
    argv = ["etcdctl", "--endpoints", stack.site.etcd_url, *words]
    subprocess.run(argv, env={"ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60)


async def fill(stack: Stack) -> None:
    """Until etcd raises its alarm."""
    with pytest.raises(StorageFullError):
        while True:
            await commit(stack.etcd, [], [Put("/junk", bytes(JUNK_BYTES))])


async def empty(stack: Stack) -> None:
    """As docs and the error's words say: compact, defragment, disarm."""
    etcdctl(stack, "compact", str((await stack.etcd.status()).revision))
    etcdctl(stack, "defrag")
    etcdctl(stack, "alarm", "disarm")


async def refused(stack: Stack, method: str, path: str, **options: object) -> None:
    answer = await stack.call(method, path, 503, **options)
    assert answer["code"] == "storage-full"
    assert "disarm" in answer["detail"], "it says what to do"


async def test_a_full_etcd_keeps_what_runs_and_says_what_it_refuses(stack: Stack) -> None:
    witness = await on_air(stack, "blue", "red")
    await stack.create("idle")
    kept, spare = await stack.janus_of("blue"), await stack.janus_of("red")
    assert kept is not spare
    await stack.call("POST", "/rooms/red/stop")
    await stack.becomes("red", "idle")
    witness.ledger.answered("red", "stop", 200)
    ffmpegs = stack.ffmpegs()
    lease = keys.heartbeat(Kind.JANUS, ModuleId(spare.module_id))

    async def let_go() -> bool:
        return await stack.etcd.get(lease) is None

    async with proof.player(stack, "blue") as player:
        moment = player.now()
        await fill(stack)
        spare.janus.kill()
        await refused(stack, "POST", "/rooms", json={"roomId": "green"})
        await refused(stack, "POST", "/rooms/idle/start")
        assert await stack.status("blue") == "onair"
        await refused(stack, "POST", "/rooms/blue/stop")
        await refused(stack, "DELETE", "/rooms/blue")
        await stack.call("DELETE", "/rooms/idle", 202)
        assert await stack.status("idle") == "gone", "what only deletes is done"
        await until(let_go, LETS_GO_SECONDS)
        assert stack.ffmpegs() == ffmpegs
        spare.janus.start()
        await empty(stack)
        await stack.ready()
        await begin(stack, witness, "green")
        await witness.settles()
        await loses(player, moment, NO_SEGMENT_SECONDS)
    assert stack.ffmpegs()["blue"] == ffmpegs["blue"]

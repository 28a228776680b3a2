"""Two of three etcds die: nothing can be known for sure, so REST says so; sound goes on (F23)."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.support import history, proof
from tests.support import stack as stacks
from tests.support.etcd import EtcdServer, leader_of
from tests.support.stack import Stack
from tests.support.view import NO_SEGMENT_SECONDS, loses, on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

LOST_SECONDS = 10.0
BOUND_SECONDS = 4.5 + 10.0  # a write and its reading back, two seconds each; on a busy machine
RECOVERY_SECONDS = 40.0
CALLS = (
    ("GET", "/rooms/blue"),
    ("GET", "/rooms"),
    ("POST", "/rooms/idle/start"),
    ("POST", "/rooms/blue/stop"),
    ("DELETE", "/rooms/blue"),
)


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/quorum", etcds=3) as running:
        yield running


def leader_and_another(stack: Stack) -> list[EtcdServer]:
    """Were it the leader that is left, it would keep what it cannot commit, and do it later."""
    leader = leader_of(stack.etcds)
    return [leader, next(member for member in stack.etcds if member is not leader)]


async def refused(stack: Stack, method: str, path: str) -> None:
    with anyio.fail_after(BOUND_SECONDS):
        answer = await stack.http.request(method, f"/api{path}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text
    assert answer.json()["code"] == "etcd-unavailable"


async def without_quorum(stack: Stack) -> None:
    """The surviving member would answer a serializable read: nobody may be told what it says."""
    over = anyio.current_time() + LOST_SECONDS
    while anyio.current_time() < over:
        async with anyio.create_task_group() as tasks:
            for method, path in CALLS:
                tasks.start_soon(refused, stack, method, path)
        assert (await stack.public.get("/healthz")).status_code == 200
        await anyio.sleep(0.5)
    assert (await stack.public.get("/readyz")).status_code == 503


async def test_a_lost_quorum_refuses_calls_and_keeps_the_sound(stack: Stack) -> None:
    witness = await on_air(stack, "blue")
    await stack.create("idle")
    before = await stack.live("blue"), stack.ffmpegs()
    async with proof.player(stack, "blue") as player:
        moment = player.now()
        lost = await anyio.to_thread.run_sync(leader_and_another, stack)
        for member in lost:
            member.kill()
        await without_quorum(stack)
        for member in lost:
            member.launch()
        with anyio.fail_after(RECOVERY_SECONDS):
            for member in lost:
                await anyio.to_thread.run_sync(member.wait_ready)
            await stack.ready()
        await witness.settles()
        await loses(player, moment, NO_SEGMENT_SECONDS)
    assert (await stack.live("blue"), stack.ffmpegs()) == before
    assert await stack.status("idle") == "idle", "a refused start was not done later"
    assert history.stale(await history.told(stack.etcd, since=1)) == []

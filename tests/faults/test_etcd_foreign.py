"""An etcd that was emptied ends nothing, and gets nothing, until the operator accepts it (I9)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from pkg.etcd.api import Put, Snapshot, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support import proof
from tests.support import stack as stacks
from tests.support.stack import Stack, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

ROOMS = ("blue", "red")
HELD_SECONDS = 22.0  # two sweeps of the modules, and a lease


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/foreign", room_managers=2, etcds=1) as running:
        yield running


@asynccontextmanager
async def stranger(stack: Stack) -> AsyncGenerator[EtcdClient]:
    """A client without a past, of whoever answers now."""
    etcd = EtcdClient(EtcdOptions([stack.site.etcd_url], namespace=stack.site.namespace))
    try:
        yield etcd
    finally:
        await etcd.aclose()


async def found_there(stack: Stack) -> Snapshot:
    async with stranger(stack) as etcd:
        return await etcd.range("/")


async def names_it(stack: Stack, number: int) -> bool:
    answer = await stack.public.get(f"{stack.site.api_url(number)}/readyz")
    return answer.status_code == 503 and "went back" in answer.json()["blockers"].get("etcd", "")


@asynccontextmanager
async def all_the_while(stack: Stack, seconds: float) -> AsyncGenerator[None]:
    """For so long nothing ends, nothing is written there, and REST says what it cannot know."""
    running = stack.ffmpegs(), await stack.janus_rooms()
    yield
    with anyio.move_on_after(seconds):
        while True:
            assert (stack.ffmpegs(), await stack.janus_rooms()) == running
            assert (await found_there(stack)).kvs == ()
            for method, path in (("GET", "/blue"), ("POST", "/red/stop"), ("DELETE", "/red")):
                answer = await stack.http.request(method, f"/api/rooms{path}")
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert (await stack.public.get("/healthz")).status_code == 200
            await anyio.sleep(0.5)


async def test_an_emptied_etcd_ends_nothing_until_it_is_accepted(stack: Stack) -> None:
    for room in ROOMS:
        await stack.create(room)
        await stack.start(room)
    await until(lambda: _all_noted(stack))
    last = (await found_there(stack)).revision
    async with proof.player(stack, "blue") as player:
        moment = player.now()
        async with all_the_while(stack, HELD_SECONDS):
            stack.etcds[0].wipe()
            for number in range(2):
                await until(partial(names_it, stack, number))
        await player.hears_on(player.now())
        told = player.report(moment)
        assert told.silence == told.missing == told.reloads == 0, told
    for daemon in stack.daemons:
        daemon.seen_path.unlink()
    await stack.ready()
    await grow(stack, beyond=last)
    for daemon in (*stack.mixers, *(host.manager for host in stack.janus_hosts)):
        daemon.restart()
    await until(lambda: _all_ended(stack), within=60)
    assert not [kv.key for kv in (await found_there(stack)).kvs if kv.key.startswith("/rooms/")]


async def grow(stack: Stack, beyond: int) -> None:
    """Nothing of an epoch that etcd has not reached is ended; who saw that distrusts it until he is
    started again."""
    async with stranger(stack) as etcd:
        while await commit(etcd, [], [Put("/elsewhere", b"")]) <= beyond:
            pass


async def _all_noted(stack: Stack) -> bool:
    return all(daemon.seen_path.exists() for daemon in stack.daemons)


async def _all_ended(stack: Stack) -> bool:
    """It knows of no room, and is believed now."""
    return not (stack.ffmpegs() or stack.bound_ports() or await stack.janus_rooms())

"""Who sleeps for longer than a lease and wakes with what it knew: nothing it writes then is stale.

Rooms are moved only where the probe failed too, one mixer at a time is fed (I4, I5), and the
listener stays. History is read from etcd afterwards, write by write.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from chaos.player import playing
from chaos.witness import Witness
from pkg import keys
from pkg.model import Kind, Leader, ModuleId
from tests.support import history
from tests.support.daemon import Daemon
from tests.support.stack import Stack, until
from tests.support.view import SLACK_SECONDS, loses, on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

PAUSE_SECONDS = 14.0
MOVE_SECONDS = 16.0 + SLACK_SECONDS


async def housekeeper(stack: Stack) -> Daemon:
    found = await stack.etcd.get(keys.leader("housekeeping"))
    assert found is not None
    pid = Leader.decode(found.value).pid
    return next(manager for manager in stack.room_managers if manager.pid == pid)


@asynccontextmanager
async def one_is_fed(witness: Witness) -> AsyncGenerator[None]:
    """No room is forwarded to two places, but for the moment between the new forwarder and the
    end of the old one: two looks in a row. Raises AssertionError at the end."""
    doubles: set[str] = set()

    async def watch() -> None:
        before: set[str] = set()
        while True:
            bridges = (await witness.look()).bridges
            now = {f"{b.room}: {b.forwards}" for b in bridges if len(b.forwards) > 1}
            doubles.update(before & now)
            before = now
            await anyio.sleep(0.5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()
    assert doubles == set()


async def test_who_slept_writes_nothing_stale(stack: Stack) -> None:
    """The listener is at the room manager that stays awake."""
    witness = await on_air(stack, "blue", "red")
    asleep = stack.room_managers.index(await housekeeper(stack))
    url = f"{stack.site.api_url(1 - asleep)}/hls/blue/live.m3u8"
    async with playing(stack.public, [url]) as player, witness.watching(), one_is_fed(witness):
        await player.started()
        moment = player.now()
        await daemons_sleep(stack)
        await witness.settles()
        await loses(player, moment, MOVE_SECONDS)
        moment = player.now()
        await a_machine_sleeps(stack)
        await witness.settles()
        await loses(player, moment, MOVE_SECONDS)
    written = await history.told(stack.etcd, since=1)
    assert history.stale(written) == []
    assert history.moves(written, Kind.JANUS) == []
    assert [room for _, room in history.moves(written, Kind.MIXER)] in (
        ["blue", "blue", "red"],
        ["blue", "red", "blue"],
    )
    assert witness.findings == []


async def daemons_sleep(stack: Stack) -> None:
    """Blue's mixer, red's Janus manager and the housekeeper, all at once; no FFmpeg, no Janus."""
    mixer, janus = await stack.mixer_of("blue"), await stack.janus_of("red")
    reds = stack.ffmpegs()["red"]
    assert await stack.mixer_of("red") is not mixer
    assert await stack.janus_of("blue") is not janus
    sleepers = [mixer, janus.manager, await housekeeper(stack)]
    began = anyio.current_time()
    for sleeper in sleepers:
        sleeper.pause()
    await until(lambda: _moved(stack, "blue", mixer.module_id))
    await anyio.sleep_until(began + PAUSE_SECONDS)
    lease = keys.heartbeat(Kind.JANUS, ModuleId(janus.module_id))
    assert await stack.etcd.get(lease) is None
    assert await housekeeper(stack) is not sleepers[2], "nobody took over"
    mixer.kill_ffmpeg("blue")  # so that it wakes with something to tell of what is over
    for sleeper in sleepers:
        sleeper.resume()
    await stack.ready()
    assert stack.ffmpegs()["red"] == reds, "its Janus answered all the while"


async def a_machine_sleeps(stack: Stack) -> None:
    """The mixer that has both rooms now, and its FFmpegs."""
    mixer = await stack.mixer_of("red")
    assert await stack.mixer_of("blue") is mixer
    began = anyio.current_time()
    mixer.pause_host()
    for room in ("blue", "red"):
        await until(lambda room=room: _moved(stack, room, mixer.module_id))  # type: ignore[misc]
    await anyio.sleep_until(began + PAUSE_SECONDS)
    mixer.resume_host()
    await stack.ready()


async def _moved(stack: Stack, room: str, origin: str) -> bool:
    return (await stack.live(room)).mixer_id != origin

"""Rooms that move: to another mixer, another epoch of the same one, another Janus (I3, I5)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Endpoints, Epoch, JanusStatus, Kind, ModuleId, Previous
from tests.support.fake_janus import FakeJanus
from tests.support.janus_stage import J1, Stage, eventually, running

pytestmark = pytest.mark.anyio
PORT, J2, M2 = 30_000, ModuleId("j2"), ModuleId("m2")
SLOT = keys.slot(Kind.JANUS, J1, 0)
ENDED_SECONDS = 0.1


@asynccontextmanager
async def on_air() -> AsyncGenerator[tuple[Stage, FakeJanus]]:
    stage, janus = Stage(MemoryEtcd()), FakeJanus(J1)
    async with running(stage.etcd, janus):
        await stage.start("blue", mixer_port=PORT)
        await stage.forwarding("blue")
        yield stage, janus


def fed(janus: FakeJanus) -> set[int]:
    return {f.port for room in janus.rooms.values() for f in room.forwarders.values()}


async def later(stage: Stage) -> Epoch:
    return Epoch(await stage.revision())


async def test_a_dead_mixers_room_is_fed_elsewhere_as_soon_as_its_port_is_known() -> None:
    async with on_air() as (stage, janus):
        await stage.rewrite("blue", mixer_id=M2, mixer_epoch=await later(stage), previous=None)
        await anyio.sleep(1)
        assert fed(janus) == {PORT}, "until the new one can be fed, nothing is broken"
        await stage.mix("blue", PORT + 10)
        await stage.forwarding("blue", within=ENDED_SECONDS)
        await eventually(lambda: fed(janus) == {PORT + 10}, within=ENDED_SECONDS)


async def test_the_new_forwarder_stands_before_the_old_one_ends() -> None:
    async with on_air() as (stage, janus):
        janus.latency = 0.05
        await stage.rewrite("blue", mixer_id=M2, mixer_epoch=await later(stage))
        await stage.mix("blue", PORT + 10)
        seen = [fed(janus)]
        while seen[-1] != {PORT + 10}:
            await anyio.sleep(0.001)
            seen.append(fed(janus))
        assert all(seen), "never without one"
        assert {PORT, PORT + 10} in seen


async def test_another_epoch_of_the_same_mixer_is_another_forwarder() -> None:
    async with on_air() as (stage, janus):
        await stage.rewrite("blue", mixer_epoch=await later(stage))
        await stage.mix("blue", PORT + 2)
        await stage.forwarding("blue", within=ENDED_SECONDS)
        await eventually(lambda: fed(janus) == {PORT + 2}, within=ENDED_SECONDS)


async def test_even_on_the_same_port_the_key_tells_the_epoch() -> None:
    """The room manager's status compares epochs, so a forwarder of the old one must not pass."""
    async with on_air() as (stage, janus):
        await stage.rewrite("blue", mixer_epoch=await later(stage))
        await stage.mix("blue", PORT)
        await stage.forwarding("blue", within=ENDED_SECONDS)
        (room,) = janus.rooms.values()
        await eventually(lambda: len(room.forwarders) == 1, within=ENDED_SECONDS)


async def test_while_a_mixer_leaves_the_key_says_who_is_fed() -> None:
    async with on_air() as (stage, janus):
        live = await stage.live("blue")
        old = Previous(
            mixer_id=live.mixer_id, epoch=live.mixer_epoch, slot=0, endpoints=Endpoints()
        )
        await stage.rewrite("blue", mixer_id=M2, mixer_epoch=await later(stage), previous=old)
        await anyio.sleep(1)
        state = await stage.state("blue")
        assert state is not None
        assert (state.status, state.mixer_epoch) == (JanusStatus.FORWARDING, old.epoch)
        assert fed(janus) == {PORT}


async def test_a_janus_that_restarts_while_a_mixer_leaves_feeds_the_new_one() -> None:
    async with on_air() as (stage, janus):
        live = await stage.live("blue")
        old = Previous(
            mixer_id=live.mixer_id, epoch=live.mixer_epoch, slot=0, endpoints=Endpoints()
        )
        await stage.rewrite("blue", mixer_id=M2, mixer_epoch=await later(stage), previous=old)
        await stage.mix("blue", PORT + 10)
        await stage.forwarding("blue")
        janus.restart()
        await eventually(lambda: fed(janus) == {PORT + 10}, within=1)
        await stage.forwarding("blue")


@pytest.mark.parametrize("slot_is_gone", [False, True])
async def test_a_room_that_moved_to_another_janus_ends_here(slot_is_gone: bool) -> None:
    """With its place still ours to give back, or freed already by the room manager."""
    async with on_air() as (stage, janus):
        if slot_is_gone:
            await stage.lose(SLOT)
        epoch = await later(stage)
        await stage.rewrite("blue", janus_id=J2, janus_epoch=epoch, mixer_epoch=epoch)
        await eventually(lambda: not janus.rooms, within=ENDED_SECONDS)
        with anyio.fail_after(ENDED_SECONDS):
            while await stage.slots():
                await anyio.sleep(0.001)


async def test_one_that_comes_back_after_its_room_moved_ends_it() -> None:
    async with on_air() as (stage, janus):
        pass
    await stage.lose(SLOT)
    await stage.rewrite("blue", janus_id=J2, janus_epoch=await later(stage))
    theirs = await stage.state("blue")
    assert theirs is not None
    async with running(stage.etcd, janus):
        await eventually(lambda: not janus.rooms, within=1)

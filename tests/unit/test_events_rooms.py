"""Room managers tell each deed once, however many of them there are, and after it was done."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import pytest

from pkg import keys
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.records import RoomAssigned, RoomDegraded, RoomMoved
from pkg.model import Kind, MixerState, MixerStatus
from roommanager.chronicle import Chronicle
from roommanager.verdict import Answer
from roommanager.wishes import RoomExistsError, RoomNotFoundError
from tests.support.heard import Heard
from tests.support.virtual import (
    BLUE,
    J1,
    M1,
    M2,
    FakeProber,
    Manager,
    Modules,
    live_of,
    manager,
    put,
    seen,
    until,
)

pytestmark = pytest.mark.anyio


@dataclass
class Pair:
    """Two room managers on one etcd, and whom they told what."""

    one: Manager
    other: Manager
    modules: Modules
    prober: FakeProber
    heard: Heard


@asynccontextmanager
async def pair() -> AsyncGenerator[Pair]:
    store, prober, heard = MemoryStore(), FakeProber(), Heard()
    modules = Modules(store)
    await modules.register_all()
    async with (
        manager(store, prober=prober, events=heard) as one,
        manager(store, seed=2, prober=prober, events=heard) as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        yield Pair(one, other, modules, prober, heard)
        tasks.cancel_scope.cancel()


async def create(at: Manager) -> None:
    with suppress(RoomExistsError):
        await at.wishes.create(BLUE, None, {})


async def start(at: Manager) -> None:
    await at.wishes.start(BLUE)


async def stop(at: Manager) -> None:
    await at.wishes.stop(BLUE)


async def delete(at: Manager) -> None:
    with suppress(RoomNotFoundError):
        await at.wishes.delete(BLUE)


async def on_air(stage: Pair) -> None:
    await create(stage.one)
    await start(stage.one)
    await until(lambda: "room.started" in stage.heard.types)


async def test_a_life_asked_for_at_two_managers_at_once_is_told_once() -> None:
    async with pair() as stage:
        for verb in (create, start, stop, start, delete):
            async with anyio.create_task_group() as both:
                both.start_soon(verb, stage.one)
                both.start_soon(verb, stage.other)
            await anyio.sleep(5)
    life = ["room.assigned", "room.started"]
    assert stage.heard.types == [
        *("room.created", *life, "room.stopping", "room.stopped"),
        *(*life, "room.removing", "room.deleted"),
    ]
    assigned = next(event for event in stage.heard.events if isinstance(event, RoomAssigned))
    assert (assigned.janus, assigned.mixer) == (J1, M1)
    assert set(assigned.reasons) == {"janus", "mixer"}


async def test_what_is_repeated_is_not_told_again() -> None:
    async with pair() as stage:
        await on_air(stage)
        await create(stage.other)
        await start(stage.other)
        for at in (stage.one, stage.other):
            await stop(at)
        await anyio.sleep(5)
    assert stage.heard.types == [
        *("room.created", "room.assigned", "room.started", "room.stopping", "room.stopped")
    ]


async def test_an_idle_room_is_deleted_at_once() -> None:
    async with pair() as stage:
        await create(stage.one)
        await delete(stage.other)
        await anyio.sleep(5)
    assert stage.heard.types == ["room.created", "room.deleted"]


async def test_a_move_says_from_where_to_where_and_why() -> None:
    async with pair() as stage:
        await on_air(stage)
        await stage.modules.register(Kind.MIXER, M2, 20)
        stage.prober.answers[M1] = Answer.REFUSED
        await stage.modules.die(Kind.MIXER, M1)
        await until(lambda: "room.moved" in stage.heard.types, within=60)
        await anyio.sleep(5)
        (moved,) = [event for event in stage.heard.events if isinstance(event, RoomMoved)]
        assert (moved.kind, moved.old, moved.new) == (Kind.MIXER, M1, M2)
        assert moved.why
        assert moved.epoch == live_of(stage.one.etcd.store).epoch


async def test_what_is_seen_only_the_elected_one_tells() -> None:
    async with pair() as stage:
        one, other = stage.one, stage.other
        elected = Chronicle(one.view, one.vigil.verdict, stage.heard)
        Chronicle(other.view, other.vigil.verdict, stage.heard)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(elected.follow)
            await on_air(stage)
            await anyio.sleep(1)
            stage.modules.stuck.add(M1)  # or it would put its word right
            await report(stage, MixerStatus.STARVED)
            await until(lambda: "room.degraded" in stage.heard.types)
            await report(stage, MixerStatus.PUBLISHING)
            await until(lambda: "room.recovered" in stage.heard.types)
            await report(stage, MixerStatus.PUBLISHING)
            await anyio.sleep(5)
            tasks.cancel_scope.cancel()
        await report(stage, MixerStatus.STARVED)
        await anyio.sleep(5)
    assert stage.heard.types[-2:] == ["room.degraded", "room.recovered"]
    (degraded,) = [event for event in stage.heard.events if isinstance(event, RoomDegraded)]
    assert "gets no sound" in degraded.reason


async def report(stage: Pair, status: MixerStatus) -> None:
    """The mixer's word on the room changes."""
    kv = stage.one.etcd.store.get(keys.room(BLUE, "mixer"))
    assert kv is not None
    state = MixerState.decode(kv.value).model_copy(update={"status": status})
    await put(MemoryEtcd(stage.one.etcd.store), kv.key, state)
    await seen(stage.one)

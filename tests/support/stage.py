"""A fleet whose modules die, fall ill or lose their leases, under room managers in virtual time."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio

from pkg import keys
from pkg.etcd.memory import MemoryStore
from pkg.model import Kind, LiveMeta, ModuleId, RoomId
from roommanager.status import RoomStatus, derive, reason
from roommanager.verdict import Answer
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
    seen,
    stored,
    until,
)


class Stage:
    def __init__(self, one: Manager, modules: Modules, prober: FakeProber) -> None:
        self.one, self.modules, self.prober = one, modules, prober
        self.store = modules.store

    async def start(self, *rooms: RoomId) -> None:
        for room_id in rooms:
            await self.one.wishes.create(room_id, None, {})
            await self.one.wishes.start(room_id)
        await until(lambda: all(live_of(self.store, r).on_air_at for r in rooms))

    async def loses(self, kind: Kind, module_id: ModuleId, answer: Answer) -> None:
        """The lease is gone, and a probe comes to this."""
        self.prober.answers[module_id] = answer
        await self.modules.die(kind, module_id)

    async def explain(self, room_id: RoomId = BLUE) -> str:
        await seen(self.one)
        facts = self.one.view.room(room_id)
        return reason(facts, self.one.view.fleet, self.one.vigil.verdict)

    def status(self, room_id: RoomId = BLUE) -> RoomStatus:
        return derive(self.one.view.room(room_id))

    def slots(self, kind: Kind, module_id: ModuleId) -> int:
        return len(stored(self.store, keys.slots_prefix(kind, module_id)))


@asynccontextmanager
async def stage(
    mixers: Mapping[ModuleId, int], januses: Mapping[ModuleId, int] | None = None, managers: int = 1
) -> AsyncGenerator[Stage]:
    """``mixers`` and ``januses`` with their capacities; ``managers`` of them act."""
    store = MemoryStore()
    modules, prober = Modules(store), FakeProber()
    for kind, fleet in ((Kind.MIXER, mixers), (Kind.JANUS, januses or {J1: 20})):
        for module_id, capacity in fleet.items():
            await modules.register(kind, module_id, capacity)
    async with (
        manager(store, prober=prober) as one,
        manager(store, seed=2, control=managers > 1, prober=prober),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        yield Stage(one, modules, prober)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def blue_on_m1(managers: int = 1) -> AsyncGenerator[tuple[Stage, LiveMeta]]:
    """Blue is on air on m1; m2 comes afterwards."""
    async with stage({M1: 5}, managers=managers) as on:
        await on.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 5)
        await seen(on.one)
        yield on, live_of(on.store)


def on_m2(on: Stage) -> bool:
    return live_of(on.store).mixer_id == M2 and on.status() is RoomStatus.ONAIR

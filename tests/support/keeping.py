"""A room manager that keeps house, over modules that behave and bear what a hand wrote."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from pydantic import ValidationError

from pkg import keys
from pkg.election import Election
from pkg.etcd.api import KV, Delete, ModIs, Op, Put
from pkg.etcd.memory import MemoryStore
from pkg.model import JanusState, Kind, Leader, LiveMeta, MixerState, ModuleId, RoomId, Slot
from roommanager.housekeeping import Housekeeping
from roommanager.mending import Displaced, Mender
from roommanager.prober import Prober
from tests.support.virtual import Manager, Modules, live_of, manager, until


class PatientModules(Modules):
    """They pass over what cannot be read, and write their own keys anew if those are wrong."""

    async def _tend(self, kind: Kind, module_id: ModuleId, kv: KV) -> None:
        with suppress(ValidationError):
            slot = Slot.decode(kv.value)
            found = self.store.get(keys.room(slot.room_id, "livemeta"))
            if found is not None and LiveMeta.decode(found.value).module(kind) != module_id:
                await self.etcd.txn([ModIs(kv.key, kv.mod_revision)], [Delete(kv.key)])
                return
            await self._clear(kind, slot)
            await super()._tend(kind, module_id, kv)

    async def _clear(self, kind: Kind, slot: Slot) -> None:
        """A report that cannot be read counts for none."""
        key = keys.room(slot.room_id, "janus" if kind is Kind.JANUS else "mixer")
        state = self.store.get(key)
        record = JanusState if kind is Kind.JANUS else MixerState
        try:
            record.decode(state.value if state else b"")
        except ValidationError:
            if state is not None:
                await self.etcd.txn([ModIs(key, state.mod_revision)], [Delete(key)])


@dataclass
class House:
    store: MemoryStore
    modules: Modules
    manager: Manager
    displaced: list[Displaced] = field(default_factory=list)

    def slot_key(self, kind: Kind, room_id: RoomId) -> str:
        live = live_of(self.store, room_id)
        return keys.slot(kind, live.module(kind), live.slot(kind))

    def has_place(self, kind: Kind, room_id: RoomId) -> bool:
        kv = self.store.get(self.slot_key(kind, room_id))
        live = live_of(self.store, room_id)
        return (
            kv is not None
            and kv.value == Slot(room_id=room_id, epoch=live.half_epoch(kind)).encode()
        )

    def slots(self, kind: Kind, module_id: ModuleId) -> list[str]:
        return [kv.key for kv in self.store.under(keys.slots_prefix(kind, module_id))]

    async def write(self, key: str, value: bytes | None) -> None:
        """By hand, unguarded."""
        op: Op = Delete(key) if value is None else Put(key, value)
        await self.modules.etcd.txn([], [op])

    async def on_air(self, *room_ids: str) -> None:
        for room_id in map(RoomId, room_ids):
            await self.manager.wishes.create(room_id, None, {})
            await self.manager.wishes.start(room_id)
        await until(lambda: all(live_of(self.store, RoomId(r)).on_air_at for r in room_ids))


@asynccontextmanager
async def house(*, capacity: int = 4, prober: Prober | None = None) -> AsyncGenerator[House]:
    """One Janus and one mixer."""
    store = MemoryStore()
    modules = PatientModules(store)
    await modules.register_all(capacity)
    async with manager(store, prober=prober) as one, anyio.create_task_group() as tasks:
        made = House(store, modules, one)
        tasks.start_soon(modules.run)
        tasks.start_soon(keep_house, one, made.displaced)
        yield made
        tasks.cancel_scope.cancel()


async def keep_house(one: Manager, displaced: list[Displaced]) -> None:
    """If it is elected. A module is held to be gone for good once it has no heartbeat."""

    def gone(kind: Kind, module_id: ModuleId) -> bool:
        return one.etcd.store.get(keys.heartbeat(kind, module_id)) is None

    mender = Mender(one.etcd, one.view, gone, displaced.append)
    keeping = Housekeeping(one.view, one.controller.queue, mender, one.vigil)
    me = Leader(instance_id="i", host="h", pid=1)
    await Election(one.etcd, "housekeeping", me).run(keeping.lead)

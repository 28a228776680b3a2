"""Room managers without their processes, and modules that behave, on one etcd in memory."""

import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import anyio
from pydantic import ValidationError

from pkg import keys
from pkg.etcd.api import KV, Delete, ModIs, Op, Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.api import SILENT, Events
from pkg.model import (
    Desired,
    Endpoints,
    Heartbeat,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    Mark,
    MarkRecord,
    MixerState,
    MixerStatus,
    ModuleId,
    Record,
    RoomId,
    Slot,
)
from pkg.schedule import Policy
from roommanager.allocator import Allocator
from roommanager.controller import RoomController
from roommanager.deeds import Deeds
from roommanager.prober import Prober
from roommanager.verdict import Answer
from roommanager.view import View
from roommanager.vigil import Vigil
from roommanager.wishes import Sources, Wishes

J1, J2, M1, M2 = (ModuleId(i) for i in ("j1", "j2", "m1", "m2"))
BLUE = RoomId("blue")
_nonces = itertools.count(1)
SOURCES = Sources(now=lambda: clock(anyio.current_time()), nonce=lambda: f"{next(_nonces):032x}")


def clock(seconds: float) -> str:
    """The wall clock in virtual time: it began with the year 2026."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def heartbeat(capacity: int, reason: str | None = None, instance: str = "i1") -> Heartbeat:
    return Heartbeat(
        status="unhealthy" if reason else "healthy",
        host="elsewhere",
        started_at="2026-01-01T00:00:00.000Z",
        capacity=capacity,
        endpoints=Endpoints(origin="http://origin"),
        instance_id=instance,
        pid=1,
        reason=reason,
    )


@dataclass
class FakeProber:
    """Every module answers but those given here; ``asked`` counts."""

    answers: dict[ModuleId, Answer] = field(default_factory=dict)
    asked: Counter[ModuleId] = field(default_factory=Counter)

    async def probe(self, kind: Kind, module_id: ModuleId, endpoints: Endpoints) -> Answer:
        self.asked[module_id] += 1
        answer = self.answers.get(module_id, Answer.ANSWERS)
        await anyio.sleep(1.5 if answer is Answer.SILENT else 0.002)
        return answer


@dataclass
class Manager:
    """One room manager: its own client of etcd, its own copy."""

    etcd: MemoryEtcd
    view: View
    wishes: Wishes
    controller: RoomController
    vigil: Vigil


@asynccontextmanager
async def manager(
    store: MemoryStore,
    *,
    seed: int = 1,
    control: bool = True,
    etcd: MemoryEtcd | None = None,
    prober: Prober | None = None,
    events: Events = SILENT,
) -> AsyncGenerator[Manager]:
    """Its loops run as long as the block; ``control`` False: it only takes wishes."""
    etcd, rng = etcd or MemoryEtcd(store), random.Random(seed)
    view = View(etcd, rng)
    allocator = Allocator(Policy.TWO_CHOICES, rng)
    deeds = Deeds(etcd, view, events, SOURCES.nonce, SOURCES.now, rng)
    sources = SOURCES if events is SILENT else replace(SOURCES, deeds=deeds)
    wishes = Wishes(etcd, view, allocator, sources)
    vigil = Vigil(view, prober or FakeProber())
    controller = RoomController(etcd, view, vigil, allocator, sources, rng)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(view.informer.run)
        await view.informer.synced.wait()
        tasks.start_soon(deeds.run)
        if control:
            tasks.start_soon(vigil.run)
            tasks.start_soon(controller.run)
        yield Manager(etcd, view, wishes, controller, vigil)
        tasks.cancel_scope.cancel()


@dataclass
class Modules:
    """Every Janus manager and mixer of the fleet, each doing at once what etcd wants of it.

    ``stuck``: these do nothing; ``deaf``: of these rooms nothing new is taken on.
    ``slow_seconds`` pass before each act.
    """

    store: MemoryStore
    slow_seconds: float = 0.0
    stuck: set[ModuleId] = field(default_factory=set)
    deaf: set[RoomId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.etcd = MemoryEtcd(self.store)

    async def register(self, kind: Kind, module_id: ModuleId, capacity: int) -> None:
        await put(self.etcd, keys.heartbeat(kind, module_id), heartbeat(capacity))

    async def register_all(self, capacity: int = 20) -> None:
        for kind, module_id in ((Kind.JANUS, J1), (Kind.MIXER, M1)):
            await self.register(kind, module_id, capacity)

    async def run(self) -> None:
        while True:
            changed = self.store.changed
            for kv in (await self.etcd.range(keys.MODULES)).kvs:
                parsed = keys.parse_module(kv.key)
                if parsed and parsed[2].startswith("slots/") and parsed[1] not in self.stuck:
                    await self._tend(parsed[0], parsed[1], kv)
            await changed.wait()

    async def die(self, kind: Kind, module_id: ModuleId) -> None:
        """Its lease is gone, and it acts no more."""
        self.stuck.add(module_id)
        await self.etcd.txn([], [Delete(keys.heartbeat(kind, module_id))])

    async def _tend(self, kind: Kind, module_id: ModuleId, kv: KV) -> None:
        slot = Slot.decode(kv.value)
        found = await self.etcd.get(keys.room(slot.room_id, "livemeta"))
        try:
            live = LiveMeta.decode(found.value) if found else None
        except ValidationError:
            return
        state_key = keys.room(slot.room_id, "janus" if kind is Kind.JANUS else "mixer")
        state = await self.etcd.get(state_key)
        ops: list[Op] = []
        if live and live.status is Desired.ONAIR and _is_here(live, kind, module_id, slot):
            report = observed(kind, live).encode()
            current = live.half_epoch(kind) == slot.epoch  # what is left only runs on
            current = current and live.room_id not in self.deaf
            ops = [Put(state_key, report)] if current and _differs(state, report) else []
        else:
            ops = [Delete(kv.key)]
            if state and json.loads(state.value)["epoch"] == slot.epoch:
                ops.append(Delete(state_key))
        if ops:
            await anyio.sleep(self.slow_seconds)
            seen = ModIs(keys.room(slot.room_id, "livemeta"), found.mod_revision if found else 0)
            await self.etcd.txn([seen, ModIs(kv.key, kv.mod_revision)], ops)


def _is_here(live: LiveMeta, kind: Kind, module_id: ModuleId, slot: Slot) -> bool:
    here = [(live.module(kind), live.half_epoch(kind))]
    if kind is Kind.MIXER and live.previous:
        here.append((live.previous.mixer_id, live.previous.epoch))
    return (module_id, slot.epoch) in here


def _differs(state: KV | None, report: bytes) -> bool:
    return state is None or state.value != report


def observed(kind: Kind, live: LiveMeta) -> Record:
    """What a module reports of a room that is on air."""
    if kind is Kind.JANUS:
        return JanusState(
            janus_id=live.janus_id,
            janus_room_id=123456,
            status=JanusStatus.FORWARDING,
            epoch=live.janus_epoch,
            endpoints=Endpoints(),
            mixer_epoch=live.mixer_epoch,
        )
    return MixerState(
        mixer_id=live.mixer_id,
        ip="127.0.0.1",
        port=30000,
        status=MixerStatus.PUBLISHING,
        epoch=live.mixer_epoch,
        endpoints=Endpoints(origin="http://origin"),
    )


async def put(etcd: MemoryEtcd, key: str, record: Record) -> int:
    return (await etcd.txn([], [Put(key, record.encode())])).revision


async def mark(etcd: MemoryEtcd, kind: Kind, module_id: ModuleId, word: Mark) -> None:
    await put(etcd, keys.mark(kind, module_id), MarkRecord(mark=word))


async def seen(manager: Manager) -> None:
    """Wait until the manager's copy stands where etcd stands."""
    await manager.view.informer.reached("/", manager.etcd.store.revision)


async def until(holds: Callable[[], bool], *, within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not holds():
            await anyio.sleep(0.01)


async def eventually(holds: Callable[[], Awaitable[bool]], *, within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not await holds():
            await anyio.sleep(0.01)


def stored(store: MemoryStore, prefix: str) -> list[str]:
    return [kv.key for kv in store.under(prefix)]


def live_of(store: MemoryStore, room_id: RoomId = BLUE) -> LiveMeta:
    kv = store.get(keys.room(room_id, "livemeta"))
    assert kv is not None
    return LiveMeta.decode(kv.value)

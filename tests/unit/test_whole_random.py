"""Every part but processes and sockets, with random wishes and faults: I14 and what it implies.

Two room managers, two Janus managers and two mixers, each the production code, on one etcd in
memory; Janus and FFmpeg are the fakes. Afterwards everything must be in order, and quiet.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import TaskGroup

from janusmanager.controller import JanusController
from janusmanager.controller import Node as JanusNode
from janusmanager.housekeeping import Housekeeping
from janusmanager.plan import Self as JanusSelf
from mixer.api import Running
from mixer.controller import MixerController, Node
from mixer.housekeeping import sweep_for_ever
from mixer.plan import Self
from mixer.ports import Ports
from pkg import keys
from pkg.errors import OnairError
from pkg.etcd.api import Batch
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Desired, Endpoints, Kind, LiveMeta, ModuleId, RoomId
from roommanager import housekeeping
from roommanager.status import RoomStatus, derive
from roommanager.wishes import RoomExistsError
from tests.support.fake_janus import FakeJanus, Mishap
from tests.support.fake_processes import FakeProcesses, Machine
from tests.support.virtual import J1, J2, M1, M2, Manager, Modules, manager

pytestmark = pytest.mark.anyio
ROOMS = [RoomId(f"r{n}") for n in range(6)]
MASTER = b"m" * 32
STEPS = 60
SETTLE_SECONDS = 200.0  # after-lives, sweeps, backoffs and rests are over by then


class LateEtcd(MemoryEtcd):
    """Each watch shows what happened up to ``lag`` seconds ago, each its own."""

    lag = 0.0

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        async with (
            super().watch(prefix, since=since) as batches,
            aclosing(self._late(batches, random.Random(prefix))) as late,
        ):
            yield late

    async def _late(
        self, batches: AsyncIterator[Batch], rng: random.Random
    ) -> AsyncGenerator[Batch]:
        async for batch in batches:
            await anyio.sleep(rng.uniform(0.0, self.lag))
            yield batch


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.store = MemoryStore()
        self.januses = {j: FakeJanus(j) for j in (J1, J2)}
        self.machines = {m: Machine() for m in (M1, M2)}
        self.clients: list[MemoryEtcd] = []
        self.managers: list[Manager] = []
        self.scopes: dict[ModuleId, anyio.CancelScope] = {}
        self.tasks: TaskGroup

    def client(self) -> MemoryEtcd:
        found = LateEtcd(self.store)
        found.lag = self.rng.choice([0.0, 0.0, 0.005, 0.05])
        self.clients.append(found)
        return found

    async def keep(self, module: ModuleId) -> None:
        """The module's daemon, again and again."""
        while True:
            with anyio.CancelScope() as self.scopes[module]:
                if module in self.januses:
                    await self._janus(module)
                else:
                    await self._mixer(module)
            await anyio.sleep(self.rng.uniform(0.0, 3.0))

    async def _janus(self, janus_id: ModuleId) -> None:
        node = JanusNode(JanusSelf(janus_id, Endpoints(ws="ws://j")), MASTER)
        janus = JanusController(self.client(), self.januses[janus_id], node, random.Random(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(janus.follow_janus)
            tasks.start_soon(janus.assignments.informer.run)
            tasks.start_soon(janus.work)
            tasks.start_soon(Housekeeping(janus, janus_id).sweep_for_ever)

    async def _mixer(self, mixer_id: ModuleId) -> None:
        node = Node(Self(mixer_id, "127.0.0.1", Endpoints(origin="http://m")), 2.0, MASTER)
        processes = FakeProcesses(mixer_id, self.machines[mixer_id])
        base = 30_000 if mixer_id == M1 else 40_000
        ports = Ports(base, 20, processes.bindable)
        mixer = MixerController(self.client(), node, processes, processes, ports, random.Random(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mixer.assignments.informer.run)
            tasks.start_soon(mixer.run)
            tasks.start_soon(sweep_for_ever, mixer, processes)

    async def guard(self) -> None:
        """What must hold at any moment: epochs rise, one process an epoch, places in bounds."""
        highest: dict[RoomId, int] = {}
        while True:
            for room_id, live in self.lives().items():
                assert live.epoch >= highest.get(room_id, 0)
                highest[room_id] = live.epoch
            epochs = [(p.room_id, p.epoch) for _, p in self.alive()]
            assert len(epochs) == len(set(epochs)), "two processes for one epoch"
            rooms = [p.room_id for _, p in self.alive()]
            assert len(rooms) == len(set(rooms)), "two processes for one room"
            await anyio.sleep(0.01)

    async def sound(self) -> None:
        """RTP goes where the forwarders point."""
        fed: set[int] = set()
        while True:
            rooms = [r for j in self.januses.values() for r in j.rooms.values()]
            now = {f.port for r in rooms for f in r.forwarders.values()}
            for machine in self.machines.values():
                for port in now - fed:
                    machine.feed(port)
                for port in fed - now:
                    machine.starve(port)
            fed = now
            await anyio.sleep(0.02)

    async def put_all_on_air(self) -> None:
        """They fill every place there is: one that was lost would show."""
        wishes = self.managers[1].wishes
        for room_id in ROOMS:
            with suppress(RoomExistsError):
                await wishes.create(room_id, None, {})
            await wishes.start(room_id)
        await anyio.sleep(60)

    # -- what happens ----------------------------------------------------------------------

    async def wish(self) -> None:
        wishes, room = self.rng.choice(self.managers).wishes, self.rng.choice(ROOMS)
        verb = self.rng.choice(["create", "start", "start", "start", "stop", "delete"])
        try:
            with anyio.move_on_after(self.rng.choice([0.002, 30.0, 30.0])):
                if verb == "create":
                    await wishes.create(room, None, {})
                else:
                    await getattr(wishes, verb)(room)
        except OnairError:
            return

    def fault(self) -> None:
        self.rng.choice([self.etcd_fault, self.janus_fault, self.process_fault])()

    def etcd_fault(self) -> None:
        client = self.rng.choice(self.clients[-8:])
        match self.rng.randrange(4):
            case 0:
                client.cut_watches()
            case 1:
                client.lose_answers(self.rng.randrange(1, 4))
            case 2:
                self.tasks.start_soon(self.outage, client)
            case _:
                self.store.compact()
                for every in self.clients:
                    every.cut_watches()

    def janus_fault(self) -> None:
        janus = self.rng.choice(list(self.januses.values()))
        match self.rng.randrange(4):
            case 0:
                janus.restart()
            case 1:
                request = self.rng.choice(["create", "destroy", "rtp_forward", "listforwarders"])
                late = self.rng.choice([0.0, 1.0, 8.0])
                janus.spoil(request, Mishap(executed=self.rng.random() < 0.7, late=late))
            case 2:
                janus.reconnect()
            case _:
                self.tasks.start_soon(self.freeze, janus)

    def process_fault(self) -> None:
        """An FFmpeg dies, or a daemon."""
        alive = self.alive()
        if alive and self.rng.random() < 0.5:
            where, running = self.rng.choice(alive)
            self.machines[where].kill(running)
        elif self.scopes:  # at the very beginning, no daemon has been started yet
            self.scopes[self.rng.choice(sorted(self.scopes))].cancel()

    async def outage(self, client: MemoryEtcd) -> None:
        client.outage(down=True)
        await anyio.sleep(self.rng.choice([0.1, 5.0, 40.0]))
        client.outage(down=False)

    async def freeze(self, janus: FakeJanus) -> None:
        janus.freeze()
        await anyio.sleep(self.rng.choice([1.0, 10.0]))
        janus.freeze(frozen=False)

    # -- what must hold --------------------------------------------------------------------

    def alive(self) -> list[tuple[ModuleId, Running]]:
        return [(m, p.running) for m, at in self.machines.items() for p in at.alive()]

    def lives(self) -> dict[RoomId, LiveMeta]:
        found = [kv for kv in self.store.under(keys.ROOMS) if kv.key.endswith("/livemeta")]
        return {live.room_id: live for live in (LiveMeta.decode(kv.value) for kv in found)}

    def verify(self) -> None:
        lives = self.lives()
        assert {live.status for live in lives.values()} <= {Desired.ONAIR}, "stuck while ending"
        wanted = sorted((r, live.mixer_id, live.mixer_epoch) for r, live in lives.items())
        runs = sorted((p.room_id, where, p.epoch) for where, p in self.alive())
        assert runs == wanted
        rooms = sorted(
            (room.description, len(room.forwarders))
            for janus in self.januses.values()
            for room in janus.rooms.values()
        )
        assert [n for _, n in rooms] == [1] * len(lives)
        slots = sum("/slots/" in kv.key for kv in self.store.under(keys.MODULES))
        assert slots == 2 * len(lives)
        for room_id in lives:
            facts = self.managers[0].view.room(room_id)
            assert derive(facts) is RoomStatus.ONAIR
        left = {(r, e) for at in self.machines.values() for r, e in at.folders}
        assert left == {(r, e) for r, _, e in wanted}
        assert not list(self.store.under(keys.ENDED))


@asynccontextmanager
async def world(seed: int) -> AsyncGenerator[World]:
    found = World(seed)
    modules = Modules(found.store)
    for kind, ids in ((Kind.JANUS, (J1, J2)), (Kind.MIXER, (M1, M2))):
        for module_id in ids:
            await modules.register(kind, module_id, 3)
    async with AsyncExitStack() as stack:
        for number in range(2):
            etcd = found.client()
            one = await stack.enter_async_context(manager(found.store, seed=number, etcd=etcd))
            found.managers.append(one)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for one in found.managers:
            tasks.start_soon(housekeeping.sweep_for_ever, one.view, one.controller.queue)
        tasks.start_soon(found.sound)
        for module_id in (J1, J2, M1, M2):
            tasks.start_soon(found.keep, module_id)
        yield found
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_wishes_and_faults_all_is_in_order_and_quiet(seed: int) -> None:
    async with world(seed) as it:
        async with anyio.create_task_group() as it.tasks:
            it.tasks.start_soon(it.guard)
            for _ in range(STEPS):
                await anyio.sleep(it.rng.choice([0.0, 0.003, 0.05, 1.0]))
                it.tasks.start_soon(it.wish)
                if it.rng.random() < 0.3:
                    it.fault()
            await anyio.sleep(SETTLE_SECONDS / 2)
            it.tasks.cancel_scope.cancel()
        for client in it.clients:
            client.lose_answers(0)
        await anyio.sleep(SETTLE_SECONDS / 2)
        it.verify()
        revision = it.store.revision
        await anyio.sleep(100)
        assert it.store.revision == revision, "nothing is written while nothing changes"
        await it.put_all_on_air()
        it.verify()
        assert len(it.lives()) == len(ROOMS)
        for room_id in ROOMS:
            await it.managers[0].wishes.delete(room_id)
        await anyio.sleep(SETTLE_SECONDS)
        it.verify()
        assert not list(it.store.under(keys.ROOMS))

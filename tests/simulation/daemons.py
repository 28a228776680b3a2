"""The daemons, wired as each service's ``__main__`` wires them, but for sockets and signals.

A daemon is killed by cancelling its tasks after its line to etcd went dead (nothing it still
does on the way out arrives anywhere), frozen by its fridge, and booted again as a new process.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.lowlevel
import httpx
from anyio.abc import TaskGroup

from janusmanager.controller import JanusController
from janusmanager.controller import Node as JanusNode
from janusmanager.housekeeping import Housekeeping as JanusHousekeeping
from janusmanager.plan import Self as JanusSelf
from janusmanager.wellness import look
from mixer import housekeeping as mixer_housekeeping
from mixer.controller import MixerController, Node
from mixer.plan import Self
from mixer.ports import Ports
from pkg import keys
from pkg.election import Election
from pkg.heartbeat import WELL, Heart, Wellness
from pkg.model import Endpoints, Heartbeat, Kind, Leader, ModuleId, RoomId
from pkg.schedule import Policy
from roommanager.allocator import Allocator
from roommanager.controller import RoomController
from roommanager.hls import Hls
from roommanager.housekeeping import Housekeeping
from roommanager.mending import Mender
from roommanager.prober import Prober
from roommanager.verdict import Fitness
from roommanager.view import View
from roommanager.vigil import Vigil
from roommanager.wishes import Sources, Wishes
from tests.simulation.clockwork import FRIDGE, Fridge
from tests.simulation.cluster import Line
from tests.simulation.listeners import listen
from tests.simulation.parts import Host, SimJanus, SimProcesses

MASTER = b"m" * 32
FREE_PID = 2**22 + 1  # above every pid the kernel gives: its holder is gone for sure
RTP_PAIRS = 12


@dataclass(eq=False)
class Daemon:
    """One process of ``name`` after the other; ``boots`` counts them."""

    name: str
    seed: int
    connect: Callable[[str, random.Random], Line]
    boots: int = 0
    up: bool = False
    fridge: Fridge = field(default_factory=Fridge)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    line: Line | None = None
    tasks: TaskGroup | None = None  # of the present process; None until it runs

    def boot(self, into: TaskGroup) -> None:
        if not self.up:
            self.up, self.scope, self.fridge = True, anyio.CancelScope(), Fridge()
            self.boots += 1
            into.start_soon(self._run, self.scope, self.fridge)

    async def _run(self, scope: anyio.CancelScope, fridge: Fridge) -> None:
        """Be one process, until it is killed. Raises what production lets out: its death."""
        rng = random.Random(f"{self.seed}/{self.name}/{self.boots}")
        FRIDGE.set(fridge)
        line = self.line = self.connect(self.name, rng)
        with scope:
            async with anyio.create_task_group() as self.tasks:
                self.tasks.start_soon(self.main, line, rng, self.tasks)
                await anyio.sleep_forever()

    def heal(self) -> None:
        self.fridge.thaw()
        if self.line is not None:
            self.line.open.set()
            self.line.answers_to_lose = 0

    def kill(self) -> None:
        """SIGKILL, also of a frozen one."""
        if self.line is not None:
            self.line.dead = True
        self.up, self.line, self.tasks = False, None, None
        self.fridge.thaw()
        self.scope.cancel()

    async def main(self, line: Line, rng: random.Random, tasks: TaskGroup) -> None:
        raise NotImplementedError

    def heart(
        self, line: Line, kind: Kind, check: Callable[[], Awaitable[Wellness]], capacity: int
    ) -> Heart:
        def describe(wellness: Wellness) -> Heartbeat:
            return Heartbeat(
                status=wellness.status,
                host=f"host-{self.name}",
                started_at="2026-01-01T00:00:00.000Z",
                capacity=capacity,
                endpoints=self.endpoints,
                instance_id=f"{self.name}-{self.boots}",
                pid=FREE_PID,
                reason=wellness.reason,
            )

        return Heart(line, keys.heartbeat(kind, ModuleId(self.name)), describe, check)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(ws=f"ws://{self.name}", origin=f"http://{self.name}", probe="http://x")


@dataclass(eq=False)
class JanusDaemon(Daemon):
    janus: SimJanus = field(kw_only=True)
    capacity: int = field(kw_only=True)

    async def main(self, line: Line, rng: random.Random, tasks: TaskGroup) -> None:
        janus_id = ModuleId(self.name)
        node = JanusNode(JanusSelf(janus_id, self.endpoints), MASTER)
        controller = JanusController(line, self.janus, node, rng)

        async def check() -> Wellness:
            return await look(self.janus, controller)

        heart = self.heart(line, Kind.JANUS, check, self.capacity)
        tasks.start_soon(controller.follow_janus)
        with anyio.move_on_after(1.0):
            await controller.read.wait()
        tasks.start_soon(heart.run)
        await heart.registered.wait()
        tasks.start_soon(controller.assignments.informer.run)
        tasks.start_soon(controller.work)
        tasks.start_soon(JanusHousekeeping(controller, janus_id).sweep_for_ever)


@dataclass(eq=False)
class MixerDaemon(Daemon):
    host: Host = field(kw_only=True)
    capacity: int = field(kw_only=True)

    async def main(self, line: Line, rng: random.Random, tasks: TaskGroup) -> None:
        mixer_id = ModuleId(self.name)
        processes = SimProcesses(mixer_id, self.host)
        node = Node(Self(mixer_id, self.host.ip, self.endpoints), 2.0, MASTER)
        ports = Ports(30_000, RTP_PAIRS, processes.bindable)
        controller = MixerController(line, node, processes, processes, ports, rng)

        async def check() -> Wellness:
            await anyio.lowlevel.checkpoint()
            full = self.host.machine.disk_full
            return Wellness("unhealthy", "the disk is full") if full else WELL

        heart = self.heart(line, Kind.MIXER, check, self.capacity)
        tasks.start_soon(heart.run)
        await heart.registered.wait()
        tasks.start_soon(controller.assignments.informer.run)
        tasks.start_soon(controller.run)
        tasks.start_soon(mixer_housekeeping.sweep_for_ever, controller, processes)


@dataclass(eq=False)
class ManagerDaemon(Daemon):
    sources: Sources = field(kw_only=True)
    prober: Prober = field(kw_only=True)
    origins: httpx.AsyncClient = field(kw_only=True)
    heard: Callable[[str, RoomId, int], None] = field(kw_only=True)
    rooms: tuple[RoomId, ...] = field(kw_only=True)
    view: View | None = None
    wishes: Wishes | None = None

    def kill(self) -> None:
        super().kill()
        self.view = self.wishes = None

    async def main(self, line: Line, rng: random.Random, tasks: TaskGroup) -> None:
        view, allocator = View(line, rng), Allocator(Policy.TWO_CHOICES, rng)
        vigil = Vigil(view, self.prober)
        controller = RoomController(line, view, vigil, allocator, self.sources, rng)
        tasks.start_soon(view.informer.run)
        await view.informer.synced.wait()
        self.view, self.wishes = view, Wishes(line, view, allocator, self.sources)
        tasks.start_soon(vigil.run)
        tasks.start_soon(controller.run)
        tasks.start_soon(self._keep_house, line, view, vigil, controller)
        name = f"{self.name}-{self.boots}"
        hear = partial(self.heard, name)
        tasks.start_soon(listen, Hls(view, self.origins), view, self.rooms, hear)

    async def _keep_house(
        self, line: Line, view: View, vigil: Vigil, controller: RoomController
    ) -> None:
        def gone(kind: Kind, module_id: ModuleId) -> bool:
            return vigil.verdict(kind, module_id).fitness is Fitness.DEAD

        mender = Mender(line, view, gone, lambda found: controller.queue.add(found.room_id))
        keeping = Housekeeping(view, controller.queue, mender, vigil)
        me = Leader(instance_id=f"{self.name}-{self.boots}", host=self.name, pid=1)
        await Election(line, "housekeeping", me).run(keeping.lead)

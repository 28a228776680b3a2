"""The world of one example: daemons, etcd, Januses, hosts, users; and all that is noted of it."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from pkg import keys
from pkg.errors import OnairError, TransientError
from pkg.etcd.api import KV, Delete, Put
from pkg.model import Endpoints, Kind, LiveMeta, Mark, MarkRecord, ModuleId, RoomId
from roommanager.verdict import Answer
from roommanager.wishes import Sources
from tests.simulation.cluster import Cluster, Line
from tests.simulation.daemons import Daemon, JanusDaemon, ManagerDaemon, MixerDaemon
from tests.simulation.laws import Laws, ViolationError
from tests.simulation.ledger import Call, Ledger, Verb
from tests.simulation.listeners import Origins
from tests.simulation.parts import Host, SimJanus, Studio
from tests.support.fake_processes import Machine

JANUSES, MIXERS, MANAGERS = ("j1", "j2"), ("m1", "m2", "m3"), ("r1", "r2")
ROOMS = tuple(RoomId(room) for room in ("a", "b", "c"))
# With one Janus only not all rooms have a place: then some are refused, or wait.
CAPACITY = {"j1": 2, "j2": 2, "m1": 2, "m2": 2, "m3": 2}
LOOK_SECONDS = 0.25
TROUBLE_SECONDS = 90.0
LAGS = (0.0, 0.0, 0.01, 0.1)


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.reached: Counter[str] = Counter()
        self.trace = hashlib.sha256()
        self.noted = 0
        self.healed = False
        self.worked = 0  # writes that are more than signs of life
        self.troubled_at: dict[ModuleId, float] = {}
        self.failure: BaseException | None = None
        self.laws = Laws(self)
        self.ledger = Ledger()
        self.cluster = Cluster(self)
        self.studio = Studio(self.note)
        self._nonces = itertools.count(1)
        self.tasks: TaskGroup
        sources = Sources(now=self.now, nonce=lambda: f"{next(self._nonces):032x}")
        self.hosts = {m: Host(m, f"10.0.0.{n}", self.note) for n, m in enumerate(MIXERS, 1)}
        self.studio.hosts.extend(self.hosts.values())
        self.januses = {j: SimJanus(ModuleId(j), self.studio) for j in JANUSES}
        self.managers = {r: self._manager(r, sources) for r in MANAGERS}
        self.daemons: dict[str, Daemon] = {**self.managers}
        for j, janus in self.januses.items():
            capacity = CAPACITY[j]
            self.daemons[j] = JanusDaemon(j, seed, self.connect, janus=janus, capacity=capacity)
        for m, host in self.hosts.items():
            capacity = CAPACITY[m]
            self.daemons[m] = MixerDaemon(m, seed, self.connect, host=host, capacity=capacity)

    def _manager(self, name: str, sources: Sources) -> ManagerDaemon:
        return ManagerDaemon(
            name,
            self.seed,
            self.connect,
            sources=sources,
            prober=self,
            origins=Origins(self.origin),
            heard=self.heard,
            rooms=ROOMS,
        )

    def origin(self, mixer: str) -> Machine | None:
        """What the mixer daemon serves, while it does."""
        daemon = self.daemons[mixer]
        return self.hosts[mixer].machine if daemon.up and not daemon.fridge.frozen else None

    def heard(self, replica: str, room_id: RoomId, sequence: int) -> None:
        self.reach("playlist.served")
        try:
            self.laws.served(replica, room_id, sequence)
        except ViolationError as violation:
            self.fail(violation)

    # -- noting ----------------------------------------------------------------------------

    def note(self, *what: object) -> None:
        """Part of the trace: the same seed must give the same one."""
        self.noted += 1
        self.trace.update(f"{anyio.current_time():.6f} {what}\n".encode())

    def reach(self, what: str) -> None:
        self.reached[what] += 1

    def wrote(self, who: str, changes: Sequence[tuple[str, KV | None]]) -> None:
        for key, kv in changes:
            self.note(who, key, kv and kv.value)
            self.worked += not key.startswith(keys.ENDED) and not key.endswith("/heartbeat")
        try:
            for key, kv in changes:
                self.laws.wrote(who, key, kv)
        except ViolationError as violation:  # not in the writer, which may catch everything
            self.fail(violation)

    def moved(self, kind: Kind, before: LiveMeta, live: LiveMeta, who: str) -> None:
        """Rooms leave only who was in trouble a while ago; that etcd forgot him is none."""
        module = before.module(kind)
        self.reach(f"moved.{kind.value}: {_why(live.moved or '')}")
        ago = anyio.current_time() - self.troubled_at.get(module, -TROUBLE_SECONDS)
        if ago >= TROUBLE_SECONDS:
            what = f"room {live.room_id} was moved by {who} away from {module}, which is well"
            raise ViolationError(f"{what}: {live.moved}")

    # -- reading ---------------------------------------------------------------------------

    def now(self) -> str:
        return f"2026-01-01T00:00:{anyio.current_time():06.3f}Z"

    def live(self, room_id: RoomId) -> LiveMeta | None:
        kv = self.cluster.get(keys.room(room_id, "livemeta"))
        return LiveMeta.decode(kv.value) if kv else None

    def lives(self) -> list[LiveMeta]:
        return [live for room in ROOMS if (live := self.live(room)) is not None]

    def capacity(self, module_id: ModuleId) -> int:
        return CAPACITY[module_id]

    # -- daemons ---------------------------------------------------------------------------

    def connect(self, name: str, rng: Any) -> Line:
        return Line(self.cluster, name, rng, rng.choice(LAGS))

    def boot(self, name: str) -> None:
        self.daemons[name].boot(self.tasks)

    def kill(self, name: str) -> None:
        self.daemons[name].kill()

    def raise_host(self, name: str) -> None:
        self.hosts[name].up = True
        self.boot(name)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """A fault's end; ``heal`` ends those that are left."""
        self.tasks.start_soon(self._later, seconds, act)

    async def _later(self, seconds: float, act: Callable[[], None]) -> None:
        await anyio.sleep(seconds)
        if not self.healed:
            act()

    def heal(self) -> None:
        """Every fault ends, and everything that was killed is started again."""
        self._note_troubles()
        self.healed = True
        self.cluster.rise()
        self.cluster.go_on()
        for janus in self.januses.values():
            janus.mend()
        for name, host in self.hosts.items():
            host.up, host.cursed, host.machine.disk_full = True, False, False
            self.mark(Kind.MIXER, name, Mark.READY)
        for name in self.januses:
            self.mark(Kind.JANUS, name, Mark.READY)
        for daemon in self.daemons.values():
            daemon.heal()
            self.boot(daemon.name)

    def fail(self, why: BaseException) -> None:
        """End the example with the first law that was broken."""
        self.failure = self.failure or why
        for daemon in self.daemons.values():
            daemon.fridge.thaw()  # who is frozen cannot end
        self.tasks.cancel_scope.cancel()

    # -- the truth about modules -----------------------------------------------------------

    async def probe(self, kind: Kind, module_id: ModuleId, endpoints: Endpoints) -> Answer:
        """Implements ``roommanager.prober.Prober``."""
        answer = self._answer(kind, module_id)
        await anyio.sleep(1.5 if answer is Answer.SILENT else 0.005)
        self.reach(f"probe.{kind.value}.{answer.value}")
        return answer

    def _answer(self, kind: Kind, module_id: ModuleId) -> Answer:
        if kind is Kind.JANUS:
            janus = self.januses[module_id]
            refused, silent = not janus.running and not janus.dark, janus.frozen or janus.dark
        else:
            daemon, host = self.daemons[module_id], self.hosts[module_id]
            refused, silent = not daemon.up and host.up, daemon.fridge.frozen or not host.up
        return Answer.REFUSED if refused else Answer.SILENT if silent else Answer.ANSWERS

    def _note_troubles(self) -> None:
        now = anyio.current_time()
        for name in (*JANUSES, *MIXERS):
            if self._is_troubled(name):
                self.troubled_at[ModuleId(name)] = now

    def _is_troubled(self, name: str) -> bool:
        daemon = self.daemons[name]
        away = daemon.line is None or not daemon.line.open.is_set() or daemon.fridge.frozen
        kind = Kind.JANUS if name in self.januses else Kind.MIXER
        if away or self.cluster.get(keys.mark(kind, ModuleId(name))) is not None:
            return True
        if kind is Kind.JANUS:
            return not self.januses[name].sounds or self.januses[name].latency > 0
        return self.hosts[name].cursed or self.hosts[name].machine.disk_full

    # -- users -----------------------------------------------------------------------------

    def ask(self, verb: Verb, room_id: RoomId, manager: str) -> None:
        """One call of a user, through one replica; it goes on by itself."""
        daemon = self.managers[manager]
        if daemon.up and daemon.tasks is not None and daemon.wishes is not None:
            daemon.tasks.start_soon(self._ask, daemon, verb, room_id)

    async def _ask(self, daemon: ManagerDaemon, verb: Verb, room_id: RoomId) -> None:
        wishes = daemon.wishes
        if wishes is None:
            return
        acts: dict[Verb, Callable[[], Awaitable[object]]] = {
            "create": partial(wishes.create, room_id, None, {}),
            "start": partial(wishes.start, room_id),
            "stop": partial(wishes.stop, room_id),
            "delete": partial(wishes.delete, room_id),
        }
        call = self.ledger.open(verb, room_id, anyio.current_time())
        try:
            await acts[verb]()
        except TransientError as error:
            self._answered(call, error)
            self.ledger.close(call, "unknown", anyio.current_time())
        except OnairError as error:
            self._answered(call, error)
            self.ledger.close(call, "refused", anyio.current_time())
        else:
            self._answered(call, None)
            self.ledger.close(call, "done", anyio.current_time())

    def _answered(self, call: Call, error: Exception | None) -> None:
        self.reach(f"call.{call.verb}.{type(error).__name__ if error else 'done'}")

    def mark(self, kind: Kind, module: str, mark: Mark) -> None:
        """An operator's word, written by a replica that is nobody's."""
        if mark is not Mark.READY:
            self.troubled_at[ModuleId(module)] = anyio.current_time()
        key = keys.mark(kind, ModuleId(module))
        op = Delete(key) if mark is Mark.READY else Put(key, MarkRecord(mark=mark).encode())
        self.cluster.writer = "r0"
        self.cluster.txn([], [op], [])
        self.cluster.writer = "etcd"

    # -- the loops -------------------------------------------------------------------------

    async def look_for_ever(self) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            self.cluster.expire()
            self.cluster.book()
            self.studio.route()
            self._curse()
            self._note_troubles()
            self._judge()

    def _judge(self) -> None:
        try:
            self.laws.look()
            self.laws.ports()
        except ViolationError as violation:
            self.fail(violation)

    def _curse(self) -> None:
        for host in self.hosts.values():
            if host.cursed:
                host.kill_all()


def _why(moved: str) -> str:
    """What kind of reason it is, without its particulars."""
    words = (
        "draining",
        "unhealthy",
        "FFmpeg failed",
        "its forwarder",
        "nobody listens",
        "directly",
    )
    return next((word for word in words if word in moved), moved)

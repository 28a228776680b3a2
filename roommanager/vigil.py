"""Watches over the modules: who lost its lease, who answers, and what that means for rooms.

It keeps the clocks and probes that ``verdict`` judges by, and tells its listeners of every module
whose verdict changed; ``controller`` then looks at that module's rooms. Each room manager has
one of its own: nothing is agreed on, since every write is guarded. Only modules are probed on
which a room depends. All that is not on air at once is on our own monotonic clock.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import anyio
import structlog
from anyio.abc import TaskGroup

from pkg import keys
from pkg.heartbeat import TTL_SECONDS
from pkg.informer import UndecodableError
from pkg.model import Endpoints, Kind, ModuleId, RoomId
from roommanager.facts import reporter
from roommanager.fleet import ModuleKey
from roommanager.prober import Prober
from roommanager.verdict import (
    ILL_SECONDS,
    PATIENCE_SECONDS,
    REFUSALS,
    UNASKED_SECONDS,
    WELL,
    Answer,
    Fitness,
    Signs,
    Verdict,
    is_mass_loss,
    judge,
)
from roommanager.view import View

log = structlog.get_logger()

REFUSED_AGAIN_SECONDS = 0.3
PROBE_SECONDS = 1.0  # while it answers: the next to die must be seen soon
SILENT_AGAIN_SECONDS = 3.0
CAREFUL_SECONDS = 60.0  # after a mass loss, rooms move slowly for so long
EVENTS = {
    Fitness.WELL: "module.well",
    Fitness.UNSURE: "module.unsure",
    Fitness.ILL: "module.ill",
    Fitness.DEAD: "module.dead",
}
# No wish names it, and whatever it ran for us has given its place back long ago: only what it
# wrote of a room is left, and may be deleted without asking it.
UNHEARD = Verdict(Fitness.DEAD, "it has no lease and no room")


@dataclass(slots=True)
class _Watch:
    """One module's signs; ``…_since`` on anyio's clock. ``asking`` ends with what it asks about."""

    gone_since: float | None = None
    ill_since: float | None = None
    complaint: str = ""
    endpoints: Endpoints = field(default_factory=Endpoints)
    answer: Answer | None = None
    refusals: int = 0
    asking: anyio.CancelScope | None = None
    told: Verdict = WELL

    @property
    def in_doubt(self) -> bool:
        return self.gone_since is not None or self.ill_since is not None


class Vigil:
    def __init__(self, view: View, prober: Prober) -> None:
        self._view = view
        self._prober = prober
        self._watches: dict[ModuleKey, _Watch] = {}
        self._placeless: dict[ModuleKey, set[RoomId]] = {}
        self._held_until: dict[Kind, float] = {}
        self._lost: set[Kind] = set()  # of these some vanished since they were judged last
        self._news = anyio.Event()
        self._listeners: list[Callable[[ModuleKey], None]] = []
        view.informer.on_change(self._notice)

    def on_verdict(self, listener: Callable[[ModuleKey], None]) -> None:
        """``listener`` hears of each module whose verdict has changed."""
        self._listeners.append(listener)

    def verdict(self, kind: Kind, module_id: ModuleId) -> Verdict:
        """What is held of the module now."""
        watch = self._watches.get((kind, module_id))
        return watch.told if watch is not None else UNHEARD

    def depend(self, room_id: RoomId, modules: Collection[ModuleKey]) -> None:
        """On these, and no others, the room is to run without holding a place there."""
        for module in modules:
            self._placeless.setdefault(module, set()).add(room_id)
            self._look(module)
            self._news.set()
        for module in [m for m, rooms in self._placeless.items() if room_id in rooms]:
            if module not in modules:
                self._let_go(module, room_id)

    def rooms(self, module: ModuleKey) -> set[RoomId]:
        """Those that depend on it: they hold a place there, or should."""
        found = self._view.fleet.get(*module)
        return (found.rooms if found else set()) | self._placeless.get(module, set())

    def is_careful(self, kind: Kind) -> bool:
        """Many of a kind vanished together not long ago."""
        held_until = self._held_until.get(kind)
        return held_until is not None and anyio.current_time() < held_until + CAREFUL_SECONDS

    async def run(self) -> None:
        await self._view.informer.synced.wait()
        async with anyio.create_task_group() as tasks:
            while True:
                self._news = news = anyio.Event()
                self._judge_all(tasks)
                with anyio.move_on_at(self._next_moment()):
                    await news.wait()

    def _let_go(self, module: ModuleKey, room_id: RoomId) -> None:
        self._placeless[module].remove(room_id)
        if not self._placeless[module]:
            del self._placeless[module]
            self._news.set()

    # -- signs -----------------------------------------------------------------------------

    def _notice(self, key: str) -> None:
        parsed = keys.parse_module(key)
        if parsed is None:
            return
        kind, module_id, rest = parsed
        watch = self._watches.get((kind, module_id))
        if rest != "heartbeat" and watch is not None and not watch.in_doubt:
            return  # a place taken or freed: nothing to a module that is well
        self._look((kind, module_id))
        self._news.set()

    def _look(self, module: ModuleKey) -> None:
        """Take in the heartbeat as the copy has it."""
        found = self._view.fleet.get(*module)
        now = anyio.current_time()
        if found is not None and found.leased:
            watch = self._watches.setdefault(module, _Watch())
            beat = found.heartbeat
            if watch.gone_since is not None:
                self._begin_anew(watch)
            watch.gone_since = None
            if beat is not None:
                watch.endpoints = beat.endpoints
                watch.complaint = beat.reason or ""
                self._tell_ill(watch, now if beat.ill else None)
            return
        watch = self._watches.get(module) or _Watch()
        needed = (found is not None and found.slots) or module in self._placeless
        if watch.gone_since is None and (module in self._watches or needed):
            self._watches[module] = watch
            self._begin_anew(watch)
            watch.gone_since, watch.ill_since = now, None
            self._lost.add(module[0])

    def _tell_ill(self, watch: _Watch, now: float | None) -> None:
        if now is None and watch.ill_since is not None:
            self._begin_anew(watch)
        watch.ill_since = None if now is None else watch.ill_since or now

    def _begin_anew(self, watch: _Watch) -> None:
        """What was asked before concerns another state of the module."""
        watch.answer, watch.refusals = None, 0
        if watch.asking is not None:
            watch.asking.cancel()
            watch.asking = None

    def _count_losses(self, kind: Kind, now: float) -> None:
        """Not before all is taken in that came together: in a list, keys have an order."""
        watches = [w for (k, _), w in self._watches.items() if k is kind]
        alive = sum(w.gone_since is None for w in watches)
        vanished = sum(
            w.gone_since is not None and now - w.gone_since < TTL_SECONDS for w in watches
        )
        if is_mass_loss(alive, vanished):
            self._held_until[kind] = now + TTL_SECONDS
            log.warning("fleet.mass_loss", kind=kind.value, alive=alive, vanished=vanished)

    # -- verdicts --------------------------------------------------------------------------

    def _judge_all(self, tasks: TaskGroup) -> None:
        now = anyio.current_time()
        for kind in sorted(self._lost):
            self._count_losses(kind, now)
        self._lost.clear()
        for module, watch in list(self._watches.items()):
            if self._is_over(module, watch, now):
                self._begin_anew(watch)
                del self._watches[module]
                continue
            if watch.in_doubt and watch.asking is None and self.rooms(module):
                watch.asking = anyio.CancelScope()
                tasks.start_soon(self._ask, module, watch, watch.asking)
            self._tell(module, watch, judge(self._signs(module[0], watch, now)))

    def _is_over(self, module: ModuleKey, watch: _Watch, now: float) -> bool:
        """Gone for long, and nothing depends on it."""
        gone = watch.gone_since is not None and now - watch.gone_since >= TTL_SECONDS
        found = self._view.fleet.get(*module)
        return gone and (found is None or not found.slots) and module not in self._placeless

    def _signs(self, kind: Kind, watch: _Watch, now: float) -> Signs:
        return Signs(
            gone_seconds=None if watch.gone_since is None else now - watch.gone_since,
            ill_seconds=None if watch.ill_since is None else now - watch.ill_since,
            complaint=watch.complaint,
            answer=watch.answer,
            refusals=watch.refusals,
            held=now < self._held_until.get(kind, -math.inf),
        )

    def _tell(self, module: ModuleKey, watch: _Watch, verdict: Verdict) -> None:
        if verdict == watch.told:
            return
        watch.told = verdict
        log.warning(
            EVENTS[verdict.fitness],
            kind=module[0].value,
            module=module[1],
            reason=verdict.reason,
            proven=verdict.proven,
        )
        for listener in self._listeners:
            listener(module)

    def _next_moment(self) -> float:
        """When some verdict may change by itself."""
        now = anyio.current_time()
        moments = list(self._held_until.values())
        for watch in self._watches.values():
            if watch.gone_since is not None:
                bounds = (TTL_SECONDS, UNASKED_SECONDS, PATIENCE_SECONDS)
                moments += [watch.gone_since + bound for bound in bounds]
            if watch.ill_since is not None:
                moments.append(watch.ill_since + ILL_SECONDS)
        return min((m for m in moments if m > now), default=math.inf)

    # -- probes ----------------------------------------------------------------------------

    async def _ask(self, module: ModuleKey, watch: _Watch, asking: anyio.CancelScope) -> None:
        """Again and again, for as long as its state is in doubt and rooms depend on it."""
        with asking:
            while self.rooms(module):
                answer = await self._prober.probe(*module, self._endpoints(module, watch))
                watch.answer = answer
                watch.refusals = watch.refusals + 1 if answer is Answer.REFUSED else 0
                self._news.set()
                await anyio.sleep(_pause(answer, watch.refusals))
        if watch.asking is asking:
            watch.asking = None

    def _endpoints(self, module: ModuleKey, watch: _Watch) -> Endpoints:
        """As its last heartbeat told, else as it told of one of its rooms."""
        if watch.endpoints != Endpoints():
            return watch.endpoints
        kind, module_id = module
        for room_id in sorted(self.rooms(module)):
            try:
                state = self._view.room(room_id).observed(kind)
            except UndecodableError:
                continue
            if state is not None and reporter(state) == module_id:
                return state.endpoints
        return Endpoints()


def _pause(answer: Answer, refusals: int) -> float:
    """Seconds until the next probe."""
    if answer is Answer.ANSWERS:
        return PROBE_SECONDS
    return REFUSED_AGAIN_SECONDS if 0 < refusals < REFUSALS else SILENT_AGAIN_SECONDS

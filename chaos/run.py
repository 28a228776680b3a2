"""One run: rooms churn, some listen, one fault after another; after each, all must agree again.

The rooms are ours by their prefix; at the end they are deleted, and nothing may be left of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio

from chaos import faults, guests, report, schedule, tidy
from chaos.churn import Churn
from chaos.listeners import Listeners, listening
from chaos.player import Player
from chaos.report import Outcome, Report, Violation
from chaos.scene import Scene
from chaos.schedule import FAILOVER_SECONDS, Fault, Kind
from pkg.errors import ConfigError, TransientError

STEADY_ROOMS = 2
UNREST_SECONDS = 1.5  # rooms churn so long before the next fault
BACK_SECONDS = 30.0  # `up` starts what died again; it waits up to 15 s before it does
DRAINED_SECONDS = 45.0  # a window of 30 s, and what hosts and clocks add
LEAVES_SECONDS = 5.0  # a room, until the next may leave: its new mixer's first segment
POLL_SECONDS = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """``only``: texts, of which a kind of fault must have one in its name; none: all kinds."""

    seconds: float
    seed: int
    rooms: int
    only: tuple[str, ...] = ()

    def kinds(self, names: list[str]) -> list[Kind]:
        """Raises ConfigError if nothing is left to do."""
        found = schedule.possible(schedule.KINDS, names)
        kinds = [k for k in found if not self.only or any(text in k.name for text in self.only)]
        if not kinds:
            raise ConfigError(f"no fault is called so; there are: {_names(found)}")
        return kinds


@dataclass
class Run:
    scene: Scene
    plan: Plan
    say: Say
    report: Report = field(default_factory=Report)
    _guests: list[guests.Guest] = field(default_factory=list)
    _said: list[Violation] = field(default_factory=list)  # since the last fault
    _looked: int = 0  # how many of the witness's findings were told

    async def go(self) -> Report:
        """Raises ConfigError if this ``up`` is not fit for it; then nothing was harmed."""
        await tidy.clear(self.scene)
        kinds = self.plan.kinds(self.scene.targets.names())
        steady = [f"{self.scene.prefix}steady{n}" for n in range(1, STEADY_ROOMS + 1)]
        await tidy.fit(self.scene, self.plan.rooms + len(steady))
        try:
            await self._prepare(steady)
            async with (
                listening(self.scene, steady) as listeners,
                guests.staying(self.scene.api, self.scene.gateways, steady) as self._guests,
            ):
                await self._churn(listeners, kinds)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end()
        return self.report

    async def _prepare(self, steady: list[str]) -> None:
        churn = self._churner(steady)
        for room in steady:
            await churn.call(room, "create")
            await churn.call(room, "start")

    def _churner(self, rooms: list[str]) -> Churn:
        return Churn(self.scene.api, self.scene.promises, rooms, self._wrong_answer)

    async def _churn(self, listeners: Listeners, kinds: list[Kind]) -> None:
        rooms = [f"{self.scene.prefix}room{n}" for n in range(1, self.plan.rooms + 1)]
        churn = self._churner(rooms)
        async with self.scene.witness.watching(), anyio.create_task_group() as tasks:
            tasks.start_soon(churn.run, self.plan.seed)
            until = anyio.current_time() + self.plan.seconds
            for round_ in schedule.rounds(kinds, self.plan.seed):
                self.say(f"next: {_names(fault.kind for fault in round_)}")
                for fault in round_:
                    if anyio.current_time() >= until:
                        tasks.cancel_scope.cancel()
                        return
                    await self._fault(fault, churn, listeners)

    async def _fault(self, fault: Fault, churn: Churn, listeners: Listeners) -> None:
        await anyio.sleep(UNREST_SECONDS)
        try:
            victim = self.scene.targets.victim(fault)
        except TransientError as error:
            self.report.skipped.append(f"#{fault.number} {fault.kind.name}: {error}")
            return
        self.say(f"#{fault.number} {fault.kind.name}: {victim.name} (pid {victim.pids[0]})")
        before = Player.now()
        await faults.do(fault, victim, self.scene.targets, self._drain)
        async with churn.held():
            converged, failed_over = await self._converge(fault.kind)
            allowed = max(FAILOVER_SECONDS if failed_over else 0.0, fault.kind.missing)
            heard = await listeners.hear(before, allowed)
        self._notice_always()
        violations = (*self._take(), *heard.violations)
        outcome = Outcome(
            fault.number,
            fault.kind,
            victim.name,
            converged,
            heard.missing,
            heard.silence,
            allowed,
            violations,
        )
        self.report.outcomes.append(outcome)
        self.say(f"    {report.line(outcome)}")
        for violation in violations:
            self.say(f"    {violation.check}: {violation.says}")

    async def _converge(self, kind: Kind) -> tuple[float, bool]:
        """Seconds from the fault's end until all lists agree; and whether a lease ran out."""
        began = anyio.current_time()
        lost = await self._all_are_back()
        await self._settle(kind.converged_within)
        return anyio.current_time() - began, lost

    async def _all_are_back(self) -> bool:
        """Wait for every part. True if a module was so slow to come back that its lease ran out:
        where `up` takes longer than that to start it again, failover is what should happen."""
        lost = False
        away = ["everything"]
        with anyio.move_on_after(BACK_SECONDS):
            while away:
                fleet = await self.scene.api.modules()
                lost |= any(module["health"] == "gone" for module in fleet)
                away = [m["moduleId"] for m in fleet if m["health"] != "healthy"]
                away += self.scene.targets.missing() if fleet else ["the API"]
                await anyio.sleep(POLL_SECONDS if away else 0)
        if away:
            self._add(report.LISTS, f"not back after {BACK_SECONDS:g} s: {', '.join(away)}")
        return lost

    async def _settle(self, within: float) -> None:
        for text in await guests.away(self._guests):
            self._add(report.LISTS, text)
        findings = await tidy.settle(self.scene, within)
        for text in findings:
            self._add(report.LISTS, f"after {within:g} s: {text}")
        observed = await self.scene.api.rooms(self.scene.prefix)
        if observed is None:
            self._add(report.CALLS, "rooms cannot be listed, though nothing is broken any more")
            return
        for text in self.scene.promises.settled(observed):
            self._add(report.LISTS, text)

    async def _drain(self, part: str) -> None:
        """Rooms leave one after the other, and the last one is still heard for its window."""
        module_id = self.scene.targets.mixer_id(part)
        path = f"/modules/mixer/{module_id}/mark"
        within = DRAINED_SECONDS + LEAVES_SECONDS * await self._used(module_id)
        try:
            await self.scene.api.call("PUT", path, {"mark": "draining"})
            if not await self._emptied(module_id, within):
                self._add(report.LISTS, f"{part}: not drained in {within:g} s")
        finally:
            with anyio.CancelScope(shield=True):
                await self.scene.api.call("PUT", path, {"mark": "ready"})

    async def _emptied(self, module_id: str, within: float) -> bool:
        with anyio.move_on_after(within):
            while True:
                if await self._used(module_id) == 0:
                    return True
                await anyio.sleep(POLL_SECONDS)
        return False

    async def _used(self, module_id: str) -> int:
        """Places that are taken."""
        fleet = await self.scene.api.modules()
        return sum(int(m["used"]) for m in fleet if m["moduleId"] == module_id)

    async def _end(self) -> None:
        """Stop and delete all of ours; what is left after a minute is told."""
        self.say("deleting all rooms")
        for text in await tidy.end(self.scene):
            self.report.ending.append(Violation(report.LISTS, text))
        self._notice_always()
        self.report.ending += self._take()
        self.report.calls = dict(self.scene.api.counts)

    def _notice_always(self) -> None:
        fresh = self.scene.witness.findings[self._looked :]
        self._looked += len(fresh)
        for text in self.scene.ours(fresh):
            self._add(report.ALWAYS, text)

    def _wrong_answer(self, says: str) -> None:
        self._add(report.CALLS, says)

    def _add(self, check: str, says: str) -> None:
        self._said.append(Violation(check, says))

    def _take(self) -> tuple[Violation, ...]:
        said, self._said = tuple(self._said), []
        return said


def _names(kinds: Iterable[Kind]) -> str:
    return ", ".join(kind.name for kind in kinds)

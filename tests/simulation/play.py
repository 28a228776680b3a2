"""Play one scenario, and say what came of it. ``simulate`` looks for a broken law in many."""

import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.simulation import clockwork
from tests.simulation.laws import ViolationError
from tests.simulation.scenarios import SCENARIOS, Scenario
from tests.simulation.verdict import complaints
from tests.simulation.world import ROOMS, World

SETTLE_SECONDS = 150.0  # drains, after-lives, backoffs and rests are over by then
LOOK_SECONDS = 2.5
QUIET_SECONDS = 31.0  # every sweep has run
FATAL = {"reconcile.failed"}  # the one place that catches everything says so


@dataclass
class Outcome:
    """``settled``: seconds from the last fault's end until all was in order."""

    failure: BaseException | None = None
    reached: Counter[str] = field(default_factory=Counter)
    trace: str = ""
    seconds: float = 0.0
    settled: float = 0.0


def play(scenario: Scenario) -> Outcome:
    outcome = Outcome()
    try:
        clockwork.run(scenario.seed, lambda: _live(scenario, outcome))
    except Exception as error:  # noqa: BLE001 - whatever it was, it ended the example
        outcome.failure = _first(error)
    return outcome


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _live(scenario: Scenario, outcome: Outcome) -> None:
    world = World(scenario.seed)
    try:
        with _heard(world):
            async with anyio.create_task_group() as world.tasks:
                outcome.settled = await _story(world, scenario)
                world.tasks.cancel_scope.cancel()
    finally:
        outcome.reached, outcome.trace = world.reached, world.trace.hexdigest()
        outcome.seconds = anyio.current_time()
    if world.failure is not None:
        raise world.failure


async def _story(world: World, scenario: Scenario) -> float:
    world.tasks.start_soon(world.look_for_ever)
    for name in world.daemons:
        world.boot(name)
    await anyio.sleep(1.0)
    await _put_on_air(world, scenario.on_air)
    for step in scenario.steps:
        await step.apply(world)
    world.heal()
    return await _settle(world)


async def _put_on_air(world: World, rooms: int) -> None:
    for room in ROOMS[:rooms]:
        world.ask("create", room, "r1")
    await anyio.sleep(0.5)
    for room in ROOMS[:rooms]:
        world.ask("start", room, "r1")
    await anyio.sleep(4.0)


async def _settle(world: World) -> float:
    """All comes in order by itself (I5, I7, I8), and then nothing is written any more (I14).

    Answers after how many seconds.
    """
    began = since = anyio.current_time()
    found, worked = complaints(world), world.worked
    while anyio.current_time() - since < QUIET_SECONDS:
        await anyio.sleep(LOOK_SECONDS)
        now, found = anyio.current_time(), complaints(world)
        if found or world.worked != worked:
            since, worked = now, world.worked
        if since - began >= SETTLE_SECONDS:
            raise ViolationError(f"after {now - began:g} s: " + ("; ".join(found) or "I14: writes"))
    return since - began


@contextmanager
def _heard(world: World) -> Generator[None]:
    """Every log event is counted; the processors are swapped in place, for cached loggers."""

    def hear(_logger: object, _method: str, event: Any) -> Any:
        name = event["event"]
        world.reach(name)
        if name in FATAL:
            world.fail(_caught(event))
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [hear]
    try:
        yield
    finally:
        processors[:] = before


def _caught(event: Any) -> BaseException:
    return sys.exc_info()[1] or ViolationError(str(event))


# -- many ----------------------------------------------------------------------------------


class _FoundError(Exception):
    pass


def simulate(
    examples: int,
    *,
    seed: int = 0,
    patch: Callable[[], AbstractContextManager[object]] = nullcontext,
    reached: Counter[str] | None = None,
) -> tuple[Scenario, BaseException] | None:
    """The first scenario that breaks a law, with what it broke; None if none of them does.

    ``patch`` is entered around each: a planted bug. Nothing is shrunk, so that it is quick.
    """
    found: list[tuple[Scenario, BaseException]] = []

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(SCENARIOS)
    def each(scenario: Scenario) -> None:
        with patch():
            outcome = play(scenario)
        if reached is not None:
            reached.update(outcome.reached)
            reached.update(examples=1, steps=len(scenario.steps), seconds=int(outcome.seconds))
        if outcome.failure is not None:
            found.append((scenario, outcome.failure))
            raise _FoundError

    try:
        each()
    except _FoundError:
        return found[0]
    return None


def shrunk(scenario: Scenario, why: BaseException) -> tuple[Scenario, BaseException]:
    """The same without the steps that it does not take. Some dozens of plays at most."""
    kept = list(scenario.steps)
    for step in scenario.steps:
        fewer = tuple(s for s in kept if s is not step)
        outcome = play(replace(scenario, steps=fewer))
        if outcome.failure is not None:
            kept, why = list(fewer), outcome.failure
    return replace(scenario, steps=tuple(kept)), why

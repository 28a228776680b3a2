"""Runs a simulation in virtual time, the same way each time; a daemon's tasks can be frozen.

Trio's scheduler shuffles what is ready by a seeded generator, and its clock jumps when every
task sleeps. A frozen ``Fridge`` (a daemon under SIGSTOP) keeps its tasks from being stepped while
time goes on; what woke them is handed over when it thaws, all at once, as after SIGCONT.
"""

from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import trio
import trio.testing
from outcome import Outcome
from trio._core import _run
from trio._core._traps import WaitTaskRescheduled

T = TypeVar("T")


class Fridge:
    """One daemon's tasks, as one process: they run, or none of them does."""

    def __init__(self) -> None:
        self.frozen = False
        self._held: list[trio.lowlevel.Task] = []

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held, self._held = self._held, []
        for task in held:
            trio.lowlevel.reschedule(task)

    def hold(self) -> None:
        """The present task stays until the thaw."""
        self._held.append(trio.lowlevel.current_task())


FRIDGE: ContextVar[Fridge | None] = ContextVar("FRIDGE", default=None)


class _Gate(trio.abc.Instrument):
    """Every task born in a fridge is stepped through ``_gated``."""

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        fridge = task.context.get(FRIDGE)
        if fridge is not None:
            task.coro = cast("Any", _gated(task.coro, fridge))


def _gated(coro: Any, fridge: Fridge) -> Generator[Any, Any, Any]:
    """Hand messages between trio and the task, but keep those that come while it is frozen."""
    message: Outcome[Any] | None = None
    while True:
        while fridge.frozen:
            fridge.hold()
            yield WaitTaskRescheduled(_stay)
        try:
            trap = coro.send(message)
        except StopIteration as done:
            return done.value
        message = yield trap


def _stay(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run ``main`` in virtual time; ``seed`` decides the order of what happens at once."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    _run._r.seed(seed)
    try:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(main, clock=clock, instruments=[_Gate()])
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]

"""Runs a simulation in virtual time, the same way each time; a daemon's tasks can be frozen.

On asyncio, as in production, but with a loop of our own: its clock jumps when nobody can go on,
nothing outside is waited for, and of the tasks that can go on at once a seeded generator says
who goes first. A frozen ``Fridge`` (a daemon under SIGSTOP) keeps its tasks from being stepped
while time goes on; what woke them is handed over when it thaws, all at once, as after SIGCONT.

Trio would do that without a loop of our own, at twice the price of each step.
"""

import asyncio
import gc
import heapq
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, TypeVar

import anyio

T = TypeVar("T")
Handle: TypeAlias = Any  # asyncio.Handle, with its private attributes
LATE_SECONDS = 1e-6  # as any timer: what is left of a wait is never a rounding error
ENDLESS_ROUNDS = 20_000  # within a second: somebody goes round in circles


class Fridge:
    """One daemon's tasks, as one process: they run, or none of them does."""

    def __init__(self) -> None:
        self.frozen = False
        self._held: list[Handle] = []
        self._loop = asyncio.get_running_loop()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held, self._held = self._held, []
        assert isinstance(self._loop, Loop)
        self._loop.resume(held)

    def hold(self, handle: Handle) -> None:
        """It stays until the thaw."""
        self._held.append(handle)


FRIDGE: ContextVar[Fridge | None] = ContextVar("FRIDGE", default=None)


class Loop(asyncio.BaseEventLoop):
    """Steps are sorted before they are shuffled: anyio wakes who is cancelled in a set's order.

    What else is called back (timers, futures) keeps its order, and precedes the steps.
    """

    _ready: deque[Handle]
    _scheduled: list[Handle]
    _selector = None  # asked for by the base class when it is closed

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now = 0.0
        self._rounds = 0  # within this second
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._failure: BaseException | None = None

    def time(self) -> float:
        return self._now

    def resume(self, held: list[Handle]) -> None:
        self._ready.extend(held)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: Any = super().create_task(coro, **options)
        task.number = next(self._numbers)
        return task  # type: ignore[no-any-return]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody caught is logged by asyncio; here it ends the example."""
        self._failure = self._failure or context.get("exception") or RuntimeError(str(context))

    def _write_to_self(self) -> None:
        """There is no other thread, and no sleep to be woken from."""

    def _run_once(self) -> None:
        self._pass_time()
        batch = [handle for handle in self._ready if not handle._cancelled]
        self._ready.clear()
        steps = []
        for handle in batch:
            task = getattr(handle._callback, "__self__", None)
            if isinstance(task, asyncio.Task):
                steps.append((task.number, handle))  # type: ignore[attr-defined]
            else:
                self._do(handle)
        if len(steps) > 1:
            steps.sort(key=lambda step: step[0])
            self._rng.shuffle(steps)
        for _, handle in steps:
            self._do(handle)
        if self._failure is not None:
            raise self._failure

    def _pass_time(self) -> None:
        """Make ready what is due; if nothing is ready at all, the next thing is due now."""
        due = self._scheduled
        while due and due[0]._cancelled:
            heapq.heappop(due)._scheduled = False
        self._rounds += 1
        if not self._ready and due and due[0]._when > self._now:
            self._advance(due[0]._when + LATE_SECONDS)
        while due and due[0]._when <= self._now:
            handle = heapq.heappop(due)
            handle._scheduled = False
            self._ready.append(handle)
        if not self._ready or self._rounds > ENDLESS_ROUNDS:
            raise RuntimeError("nothing will ever happen any more, or no time ever pass")

    def _advance(self, to: float) -> None:
        if int(to) > int(self._now):
            self._rounds = 0
        self._now = to

    def _do(self, handle: Handle) -> None:
        fridge = handle._context.get(FRIDGE)
        if fridge is not None and fridge.frozen:
            fridge.hold(handle)
        elif not handle._cancelled:
            handle._run()


@contextmanager
def _uncollected() -> Generator[None]:
    """No garbage is collected in the midst: it takes time, and would end things at random."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        gc.unfreeze()


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run ``main`` in virtual time; ``seed`` decides the order of what happens at once."""
    with _uncollected():
        options = {"loop_factory": lambda: Loop(seed)}
        return anyio.run(main, backend="asyncio", backend_options=options)

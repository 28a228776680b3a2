"""Ordered start, reverse stop, for every daemon's ``__main__``.

A daemon is a list of ``Step``s. Each is entered only when the one before it is up, and left in
reverse order on SIGTERM, SIGINT or the failure of any. ``prevents`` says which race the place
in the order prevents; it is logged with the step, so that the order documents itself.
"""

import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    enter: Callable[[], AbstractAsyncContextManager[object]]
    prevents: str


@asynccontextmanager
async def background(
    run: Callable[[], Coroutine[Any, Any, Any]],
    *,
    ready: Callable[[], Coroutine[Any, Any, Any]] | None = None,
) -> AsyncGenerator[None]:
    """Run a loop as long as the block lasts; the block is entered once ``ready`` returns."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        if ready is not None:
            await ready()
        yield
        tasks.cancel_scope.cancel()


async def serve(steps: Sequence[Step], stop: anyio.Event) -> None:
    """Start all steps, wait for ``stop``, end them in reverse order."""
    async with AsyncExitStack() as stack:
        for step in steps:
            await stack.enter_async_context(step.enter())
            log.debug("step.started", step=step.name, prevents=step.prevents)
        log.info("service.ready")
        await stop.wait()
        log.info("service.stopping")
    log.info("service.stopped")


async def stop_on_signal(stop: anyio.Event) -> None:
    """Set ``stop`` at the first SIGTERM or SIGINT."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("signal.received", signal=signal.Signals(number).name)
            stop.set()
            return


async def run_until_signal(steps: Sequence[Step]) -> None:
    """``serve``, ended by a signal. Signals count from the first step on."""
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, stop)
        await _serve_or_stop(steps, stop)
        tasks.cancel_scope.cancel()


async def _serve_or_stop(steps: Sequence[Step], stop: anyio.Event) -> None:
    """A signal while a step is still starting ends the start, too."""
    async with anyio.create_task_group() as tasks:
        started = anyio.Event()

        async def cancel_slow_start() -> None:
            await stop.wait()
            if not started.is_set():
                tasks.cancel_scope.cancel()

        tasks.start_soon(cancel_slow_start)
        last = Step("started", lambda: _mark(started), "a stop that hangs in a slow start")
        await serve([*steps, last], stop)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _mark(event: anyio.Event) -> AsyncGenerator[None]:
    event.set()
    yield

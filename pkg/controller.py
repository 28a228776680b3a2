"""Run workers that take keys from a queue and reconcile them, for ever.

``reconcile(key)`` makes the world match the key. It returns how many seconds from now the key
wants another look even if nothing changes, or None. Errors: ConflictError (somebody wrote first)
and TransientError are looked at again with backoff, TerminalError waits for the next change.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import anyio
import structlog

from pkg.errors import TerminalError, TransientError
from pkg.workqueue import WorkQueue

K = TypeVar("K", bound=str)
log = structlog.get_logger()

Reconcile: TypeAlias = Callable[[K], Awaitable[float | None]]


async def run(queue: WorkQueue[K], reconcile: Reconcile[K], *, workers: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(_work, queue, reconcile)


async def _work(queue: WorkQueue[K], reconcile: Reconcile[K]) -> None:
    while True:
        key = await queue.get()
        with structlog.contextvars.bound_contextvars(key=key):
            try:
                await _reconcile_once(queue, reconcile, key)
            finally:
                queue.done(key)


async def _reconcile_once(queue: WorkQueue[K], reconcile: Reconcile[K], key: K) -> None:
    try:
        again = await reconcile(key)
    except TerminalError as error:
        queue.forget(key)
        log.warning("reconcile.terminal", error=str(error))
    except TransientError as error:
        log.info(
            "reconcile.retry",
            kind=type(error).__name__,
            error=str(error),
            retry_in=round(queue.retry(key), 3),
        )
    except Exception:
        log.exception("reconcile.failed", retry_in=round(queue.retry(key), 3))
    else:
        queue.forget(key)
        if again is not None:
            queue.add_after(key, again)

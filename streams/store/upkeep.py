"""What a store needs from time to time: expired streams removed, the log folded."""

import sqlite3

import anyio
import structlog

from pkg.errors import OnairError
from streams.store.store import Store

log = structlog.get_logger()

SWEEP_SECONDS = 1.0
FOLD_SECONDS = 5.0


class Upkeep:
    def __init__(self, store: Store, checkpoint_seconds: float) -> None:
        self._store = store
        self._checkpoint_seconds = checkpoint_seconds

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            tasks.start_soon(self._fold)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_SECONDS)
            await self._store.sweep()

    async def _fold(self) -> None:
        """Full parts of the log soon, the present one now and then."""
        rotated = anyio.current_time()
        while True:
            await anyio.sleep(min(FOLD_SECONDS, self._checkpoint_seconds))
            if anyio.current_time() >= rotated + self._checkpoint_seconds:
                rotated = anyio.current_time()
                self._store.rotate()
            try:
                await self._store.checkpoint()
            except (OSError, sqlite3.Error, OnairError) as error:
                self._store.break_off(str(error))
                log.error("checkpoint.failed", error=str(error))
                return

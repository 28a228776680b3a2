"""Of all who ask for the same thing at once, one flight goes and fetches it; all share its outcome.

Errors are shared too: behind an origin that hangs, nobody queues for a wait of his own. A flight
goes on when those who asked are gone, or have been answered otherwise meanwhile.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from pkg.errors import OnairError
from roommanager.sources import NotYetError

T = TypeVar("T")
MAX_FLIGHTS = 2000  # each lasts some seconds at most


class Flight(Generic[T]):
    def __init__(self) -> None:
        self.began = anyio.current_time()
        self._landed = anyio.Event()
        self._brought: list[T] = []
        self._error: OnairError | None = None

    async def outcome(self) -> T:
        """What it brings. Raises OnairError."""
        await self._landed.wait()
        if self._error is not None:
            raise self._error
        if not self._brought:
            raise NotYetError("this room manager is stopping")
        return self._brought[0]

    async def go(self, fetch: Callable[[], Awaitable[T]]) -> None:
        try:
            self._brought.append(await fetch())
        except OnairError as error:
            self._error = error
        finally:
            self._landed.set()


class Flights(Generic[T]):
    def __init__(self) -> None:
        self._open: dict[object, Flight[T]] = {}
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            yield
            self._tasks = None
            tasks.cancel_scope.cancel()

    def join(self, key: object, fetch: Callable[[], Awaitable[T]]) -> Flight[T]:
        """The flight under way, or a new one. Raises NotYetError."""
        found = self._open.get(key)
        if found is not None:
            return found
        if self._tasks is None or len(self._open) >= MAX_FLIGHTS:
            raise NotYetError("this room manager has just started, or is very busy")
        flight = self._open[key] = Flight[T]()
        self._tasks.start_soon(self._go, key, flight, fetch)
        return flight

    async def _go(self, key: object, flight: Flight[T], fetch: Callable[[], Awaitable[T]]) -> None:
        try:
            await flight.go(fetch)
        finally:
            del self._open[key]

"""Of all who ask for the same thing at once, one goes and fetches it; the others share its outcome.

Errors are shared too: behind an origin that hangs, nobody queues for a wait of his own.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from pkg.errors import OnairError

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.brought: list[T] = []
        self.error: OnairError | None = None


class Flights(Generic[T]):
    def __init__(self) -> None:
        self._open: dict[object, _Flight[T]] = {}

    async def once(self, key: object, go: Callable[[], Awaitable[T]]) -> T:
        """What ``go`` brings. If the one who went is cancelled, another goes."""
        while (flight := self._open.get(key)) is not None:
            await flight.landed.wait()
            if flight.error is not None:
                raise flight.error
            if flight.brought:
                return flight.brought[0]
        return await self._go(key, go)

    async def _go(self, key: object, go: Callable[[], Awaitable[T]]) -> T:
        flight = self._open[key] = _Flight[T]()
        try:
            flight.brought.append(await go())
        except OnairError as error:
            flight.error = error
            raise
        finally:
            del self._open[key]
            flight.landed.set()
        return flight.brought[0]

"""Fetch segments before anybody asks for them, and again if that failed, while it may help.

Each origin has a queue of its own, so that none waits for another one that hangs. Nothing is tried
again by a clock: ``hls`` offers what it wishes with each playlist it has fetched, and a wish that
failed is due again after a while.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from pkg.errors import OnairError
from pkg.outage import Outages
from roommanager.sources import Source

AT_ONCE = 8  # from one origin: those who ask for something find half of its connections free
QUEUE = 300  # of one origin
AGAIN_SECONDS = 1.0  # doubles
TRIES = 6  # over 31 s at least: a segment is listed for 30 s

Fetch = Callable[[Source, str], Awaitable[object]]


@dataclass(slots=True, eq=False)
class Wish:
    """A segment to have. ``due``: when to try (next); never while it is under way or had."""

    source: Source
    name: str
    due: float = 0.0
    tries: int = 0
    had: bool = False

    @property
    def is_open(self) -> bool:
        return not self.had and self.tries < TRIES

    def failed(self, now: float) -> None:
        self.due = now + AGAIN_SECONDS * 2**self.tries
        self.tries += 1


@dataclass(slots=True)
class _Lane:
    turn: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(AT_ONCE))
    members: int = 0


class Ahead:
    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lanes: dict[str, _Lane] = {}
        self._outages = Outages("prefetch.dropped", "prefetch.resumed")
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            yield
            self._tasks = None
            tasks.cancel_scope.cancel()

    def offer(self, wishes: Iterable[Wish]) -> None:
        """Those that are due: soon, by and by; later if too many are wished for already."""
        now = anyio.current_time()
        for wish in wishes:
            if self._tasks is not None and wish.due <= now:
                self._begin(self._tasks, wish, now)

    def _begin(self, tasks: TaskGroup, wish: Wish, now: float) -> None:
        origin = wish.source.origin
        lane = self._lanes.setdefault(origin, _Lane())
        if lane.members >= QUEUE:
            wish.failed(now)
            self._outages.failed(origin, origin=origin, room=wish.source.room_id)
            return
        self._outages.over(origin, origin=origin)
        lane.members += 1
        wish.due = math.inf
        tasks.start_soon(self._go, lane, wish)

    async def _go(self, lane: _Lane, wish: Wish) -> None:
        try:
            async with lane.turn:
                await self._fetch(wish.source, wish.name)
            wish.had = True
        except OnairError:  # whoever needs it meanwhile will ask, and be told
            wish.failed(anyio.current_time())
        finally:
            lane.members -= 1
            if lane.members == 0:
                del self._lanes[wish.source.origin]

"""One clock for all connections: a sleeping task each would double what an idle host weighs."""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import anyio


@dataclass(slots=True)
class Alarm:
    ring: Callable[[], None] | None

    def cancel(self) -> None:
        """Harmless when it has rung."""
        self.ring = None


class Alarms:
    """``set`` and ``Alarm.cancel`` never wait; ``run`` must run, and calls what is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._sweep_at = 64
        self._sooner = anyio.Event()

    def set(self, time: float, ring: Callable[[], None]) -> Alarm:
        """Have ``ring`` called at ``time`` (anyio's clock)."""
        alarm = Alarm(ring)
        heapq.heappush(self._due, (time, next(self._numbers), alarm))
        if self._due[0][2] is alarm:
            self._sooner.set()
        self._sweep()
        return alarm

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> NoReturn:
        while True:
            self._sooner = anyio.Event()
            now = anyio.current_time()
            while self._due and self._due[0][0] <= now:
                self._ring(heapq.heappop(self._due)[2])
            next_at = self._due[0][0] if self._due else math.inf
            with anyio.move_on_at(next_at):
                await self._sooner.wait()

    @staticmethod
    def _ring(alarm: Alarm) -> None:
        ring, alarm.ring = alarm.ring, None
        if ring is not None:
            ring()

    def _sweep(self) -> None:
        """Drop cancelled ones once they may be the half: their time may be a day from now."""
        if len(self._due) >= self._sweep_at:
            self._due = [entry for entry in self._due if entry[2].ring is not None]
            heapq.heapify(self._due)
            self._sweep_at = max(64, 2 * len(self._due))

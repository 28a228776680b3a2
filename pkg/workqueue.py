"""A queue of keys: deduplicated, one worker per key at a time, with delays.

Everything happens on one event loop, so there are no locks. A key is *dirty* from ``add`` until
a worker takes it, and *processing* until ``done``; a key that becomes dirty while it is processed
runs once more afterwards. Shape after client-go's ``util/workqueue``.
"""

import heapq
import math
import random
from collections import deque
from typing import Generic, TypeVar

import anyio

from pkg import backoff

K = TypeVar("K", bound=str)


class WorkQueue(Generic[K]):
    def __init__(self, rng: random.Random, *, base: float = 0.05, cap: float = 30.0) -> None:
        self._rng = rng
        self._base = base
        self._cap = cap
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, K]] = []
        self._failures: dict[K, int] = {}
        self._waiting: deque[anyio.Event] = deque()
        self._watched = False  # one of those who wait wakes up when the next delay is over

    def add(self, key: K) -> None:
        """Have the key looked at now; an earlier wish for later is fulfilled by it."""
        self._due.pop(key, None)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have it looked at in ``seconds``; of several such wishes the earliest wins."""
        due = anyio.current_time() + seconds
        if due < self._due.get(key, math.inf):
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            if self._timers[0] == (due, key):
                self._wake_watchman()

    def retry(self, key: K) -> float:
        """Have it looked at after the backoff of its failures so far; answers the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = backoff.delay(failures, self._rng, base=self._base, cap=self._cap)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """The key went well: its next failure starts from the shortest wait."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        while True:
            self._promote_due()
            if self._ready:
                key = self._ready.popleft()
                self._dirty.discard(key)
                self._processing.add(key)
                self._pass_watch()
                return key
            await self._news()

    def done(self, key: K) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def __len__(self) -> int:
        """Keys waiting to be looked at now."""
        return len(self._ready)

    def _promote_due(self) -> None:
        now = anyio.current_time()
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                self.add(key)

    def _seconds_to_next(self) -> float:
        if not self._timers:
            return math.inf
        return max(0.0, self._timers[0][0] - anyio.current_time())

    async def _news(self) -> None:
        """Until something was added for us to take, or we watch the clock and a delay is over."""
        woken, watches = anyio.Event(), not self._watched
        if watches:
            self._watched = True
            self._waiting.append(woken)
        else:
            self._waiting.appendleft(woken)
        try:
            with anyio.move_on_after(self._seconds_to_next() if watches else math.inf):
                await woken.wait()
        except anyio.get_cancelled_exc_class():
            if woken.is_set() or watches:
                self._wake()  # what we were there for is another worker's now
            raise
        finally:
            self._watched = self._watched and not watches
            if not woken.is_set():
                self._waiting.remove(woken)

    def _wake(self) -> None:
        """One worker: waking all for each key costs more than most keys' work."""
        if self._waiting:
            self._waiting.popleft().set()

    def _wake_watchman(self) -> None:
        """He stands last, so that others are called to work before him."""
        if self._waiting:
            self._waiting.pop().set()

    def _pass_watch(self) -> None:
        """One idle worker watches the clock for all; whoever goes to work leaves it to the next."""
        if not self._watched:
            self._wake()

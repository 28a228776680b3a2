"""How long to wait before FFmpeg is started again. Pure bookkeeping; the caller owns the clock.

Any exit while a room is assigned is a failure of this host, whatever its code, but one: FFmpeg
ends by itself when no RTP came for long. A process that published for a while has earned a start
without waiting; one that dies at once waits longer each time.

>>> rng = random.Random(0)
>>> restarts = Restarts(rng)
>>> restarts.note("blue", "FFmpeg ended", lived=60.0, now=100.0); restarts.wait("blue", 100.0)
0.0
>>> for _ in range(8): restarts.note("blue", "FFmpeg ended", lived=0.1, now=100.0)
>>> 3.0 <= restarts.wait("blue", 100.0) <= 30.0, restarts.failures("blue")
(True, 9)
"""

import random
from dataclasses import dataclass
from typing import Generic, TypeVar

from pkg import backoff

K = TypeVar("K")

STEADY_SECONDS = 20.0  # a process that lived so long did not fail at its start
BASE_SECONDS = 0.25
CAP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Setback:
    """The last end that nobody asked for. ``failures``: so many in a row; none if it only waited
    for sound in vain (``unfed``). ``due``: when it may be started again."""

    failures: int
    reason: str
    due: float
    unfed: bool = False


class Restarts(Generic[K]):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._records: dict[K, Setback] = {}

    def note(self, key: K, reason: str, lived: float, now: float) -> None:
        """A process failed, or could not be started; ``lived`` in seconds."""
        if lived >= STEADY_SECONDS:
            self._records[key] = Setback(1, reason, now)
            return
        failures = self.failures(key) + 1
        wait = backoff.delay(failures - 1, self._rng, base=BASE_SECONDS, cap=CAP_SECONDS)
        self._records[key] = Setback(failures, reason, now + wait)

    def note_unfed(self, key: K, reason: str, now: float) -> None:
        """It ended because no sound came, which is not its fault: it may wait on at once."""
        self._records[key] = Setback(0, reason, now, unfed=True)

    def recall(self, key: K, failures: int, reason: str, now: float) -> None:
        """What a daemon before this one counted; no wait is left of it. Ours counts, if any."""
        self._records.setdefault(key, Setback(failures, reason, now))

    def wait(self, key: K, now: float) -> float:
        """Seconds until it may be started again; 0 if it may now."""
        record = self._records.get(key)
        return max(0.0, record.due - now) if record else 0.0

    def failures(self, key: K) -> int:
        """How many in a row."""
        record = self._records.get(key)
        return record.failures if record else 0

    def last(self, key: K) -> Setback | None:
        return self._records.get(key)

    def forget(self, key: K) -> None:
        self._records.pop(key, None)

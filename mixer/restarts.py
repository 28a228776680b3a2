"""How long to wait before FFmpeg is started again. Pure bookkeeping; the caller owns the clock.

Any exit while a room is assigned is a failure, whatever its code. A process that published for
a while has earned a start without waiting; one that dies at once waits longer each time.

>>> rng = random.Random(0)
>>> restarts = Restarts(rng)
>>> restarts.note("blue", "FFmpeg ended", lived=60.0, now=100.0); restarts.wait("blue", 100.0)
0.0
>>> for _ in range(8): restarts.note("blue", "FFmpeg ended", lived=0.1, now=100.0)
>>> 3.0 <= restarts.wait("blue", 100.0) <= 30.0, restarts.why("blue")
(True, 'FFmpeg ended; failed 8 times in a row')
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
class _Record:
    failures: int
    reason: str
    due: float


class Restarts(Generic[K]):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._records: dict[K, _Record] = {}

    def note(self, key: K, reason: str, lived: float, now: float) -> None:
        """A process ended by itself, or had to be ended; ``lived`` in seconds."""
        if lived >= STEADY_SECONDS:
            self._records[key] = _Record(0, reason, now)
            return
        before = self._records.get(key)
        failures = (before.failures if before else 0) + 1
        wait = backoff.delay(failures - 1, self._rng, base=BASE_SECONDS, cap=CAP_SECONDS)
        self._records[key] = _Record(failures, reason, now + wait)

    def wait(self, key: K, now: float) -> float:
        """Seconds until it may be started again; 0 if it may now."""
        record = self._records.get(key)
        return max(0.0, record.due - now) if record else 0.0

    def why(self, key: K) -> str | None:
        """What went wrong last, in words; None if nothing did."""
        record = self._records.get(key)
        if record is None:
            return None
        again = record.failures > 1
        return (
            f"{record.reason}; failed {record.failures} times in a row" if again else record.reason
        )

    def forget(self, key: K) -> None:
        self._records.pop(key, None)

"""Delays between retries, as plain numbers; full jitter, so that a crowd spreads out.

The random source is passed in: production hands one over at wiring time, tests a seeded one.
Source of "full jitter": AWS Architecture Blog, "Exponential Backoff And Jitter".

>>> [ceiling(n, base=1, cap=10) for n in range(6)]
[1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
"""

import random

BASE_SECONDS = 0.05
CAP_SECONDS = 30.0


def ceiling(failures: int, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> float:
    """The longest wait after ``failures`` earlier failures, in seconds."""
    return float(min(cap, base * 2.0 ** min(failures, 32)))


def delay(
    failures: int,
    rng: random.Random,
    *,
    base: float = BASE_SECONDS,
    cap: float = CAP_SECONDS,
) -> float:
    """A wait in seconds, uniform between a tenth of the ceiling and the ceiling.

    Not from zero: a retry that does not wait at all is a hot loop by chance.
    """
    top = ceiling(failures, base=base, cap=cap)
    return rng.uniform(top / 10, top)

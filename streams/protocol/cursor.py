"""Cursors, which keep a cache in between from serving one live answer for ever (§10.1)."""

import math
import random

EPOCH = 1728432000  # 2024-10-09T00:00:00Z
INTERVAL_SECONDS = 20
MAX_JITTER_SECONDS = 3600
_MAX_DIGITS = 18


def cursor(now: float, given: str | None, rng: random.Random) -> str:
    """The interval of ``now`` (Unix seconds), or one above the client's if that is not behind.

    >>> cursor(EPOCH + 45, None, random.Random(1)), cursor(EPOCH + 45, "1", random.Random(1))
    ('2', '2')
    >>> 2 < int(cursor(EPOCH + 45, "2", random.Random(1))) <= 182
    True
    >>> cursor(EPOCH + 45, "x", random.Random(1))
    '2'
    """
    current = int((now - EPOCH) // INTERVAL_SECONDS)
    theirs = _number(given)
    if theirs is None or theirs < current:
        return str(current)
    return str(theirs + math.ceil(rng.randint(1, MAX_JITTER_SECONDS) / INTERVAL_SECONDS))


def _number(given: str | None) -> int | None:
    """What is no cursor of ours counts as none: caches may change what passes through them."""
    if not given or len(given) > _MAX_DIGITS or not (given.isascii() and given.isdigit()):
        return None
    return int(given)

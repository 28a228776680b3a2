"""A token bucket: how often something may be done. Pure; the caller owns the clock.

>>> bucket = Bucket(rate=2.0, burst=2)
>>> [bucket.take(now) for now in (0.0, 0.0, 0.0, 0.25, 0.5)]
[0.0, 0.0, 0.5, 0.25, 0.0]
"""


class Bucket:
    """``rate`` tokens a second come in, up to ``burst``; it begins full."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._level = float(burst)
        self._at = 0.0

    def take(self, now: float) -> float:
        """Take a token: 0. Else nothing is taken, and the answer is when to ask again: seconds.

        ``now``: seconds on a clock that never goes back.
        """
        level = min(float(self._burst), self._level + (now - self._at) * self._rate)
        self._level, self._at = level, now
        if level < 1.0 - 1e-9:
            return (1.0 - level) / self._rate
        self._level -= 1.0
        return 0.0

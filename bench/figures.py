"""Percentiles and the verdict on a ratio. Pure.

>>> Summary.of([0.003, 0.001, 0.002]).p50
0.002
>>> Goal(at_most=1.5).words(1.4), Goal(at_least=0.6).words(0.5)
('≤ 1.5: reached', '≥ 0.6: NOT reached')
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank (no invented values). Raises ValueError if there are none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5), percentile([1.0, 2.0, 3.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """Of durations in seconds."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        return cls(len(values), percentile(values, 0.5), percentile(values, 0.99), max(values))


@dataclass(frozen=True, slots=True)
class Goal:
    at_most: float | None = None
    at_least: float | None = None

    def reached(self, value: float) -> bool:
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def words(self, value: float) -> str:
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        return f"{bound}: {'reached' if self.reached(value) else 'NOT reached'}"


def ms(seconds: float) -> str:
    """
    >>> ms(0.01234)
    '12.3 ms'
    """
    return f"{seconds * 1000:.1f} ms"

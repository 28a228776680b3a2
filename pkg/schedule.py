"""Pick a module: filter, then rank. Pure; every refused candidate keeps its reason.

Called by the room manager's allocator. The random source is passed in, so that a test can
repeat a choice; ties break by id. "Two choices" after Mitzenmacher, "The Power of Two Choices
in Randomized Load Balancing" (1996).

>>> fit = Candidate(ModuleId("a"), capacity=4, used=1)
>>> full = Candidate(ModuleId("b"), capacity=2, used=2)
>>> choice = pick([fit, full], Policy.LEAST_LOADED, random.Random(0))
>>> choice.module_id, choice.why
('a', '1 of 4 places used; the only one that can take a room')
>>> refusals([fit, full])
{'b': 'all 2 places are taken'}
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pkg.model import Mark, ModuleId


class Policy(StrEnum):
    TWO_CHOICES = "two-choices"
    RANDOM = "random"
    LEAST_LOADED = "least-loaded"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the choice depends on. ``unhealthy`` holds the reason; None is healthy."""

    module_id: ModuleId
    capacity: int
    used: int
    unhealthy: str | None = None
    mark: Mark = Mark.READY

    @property
    def load(self) -> float:
        return self.used / self.capacity

    @property
    def words(self) -> str:
        return f"{self.used} of {self.capacity} places used"


@dataclass(frozen=True, slots=True)
class Choice:
    module_id: ModuleId
    why: str


def refusal(candidate: Candidate) -> str | None:
    """Why this one cannot take a room; None if it can."""
    if candidate.unhealthy is not None:
        return candidate.unhealthy
    if candidate.mark is not Mark.READY:
        return f"marked {candidate.mark.value} by an operator"
    if candidate.capacity <= 0:
        return "its capacity is 0"
    if candidate.used >= candidate.capacity:
        places = (
            "its only place is"
            if candidate.capacity == 1
            else f"all {candidate.capacity} places are"
        )
        return f"{places} taken"
    return None


def refusals(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Module id → why not, for every candidate that cannot take a room, in id order."""
    ordered = sorted(candidates, key=lambda c: c.module_id)
    return {c.module_id: why for c in ordered if (why := refusal(c)) is not None}


def pick(candidates: Iterable[Candidate], policy: Policy, rng: random.Random) -> Choice | None:
    """Choose among those that can take a room; None if there is none."""
    fit = sorted((c for c in candidates if refusal(c) is None), key=lambda c: c.module_id)
    if not fit:
        return None
    if len(fit) == 1:
        return Choice(fit[0].module_id, f"{fit[0].words}; the only one that can take a room")
    return _rank(fit, policy, rng)


def _rank(fit: Sequence[Candidate], policy: Policy, rng: random.Random) -> Choice:
    match policy:
        case Policy.RANDOM:
            chosen = rng.choice(fit)
            return Choice(chosen.module_id, f"{chosen.words}; drawn from {len(fit)}")
        case Policy.LEAST_LOADED:
            chosen = min(fit, key=lambda c: (c.load, c.module_id))
            return Choice(chosen.module_id, f"{chosen.words}; the least loaded of {len(fit)}")
        case Policy.TWO_CHOICES:
            first, second = rng.sample(fit, 2)
            chosen, other = sorted((first, second), key=lambda c: (c.load, c.module_id))
            against = f"against {other.module_id} ({other.words})"
            return Choice(chosen.module_id, f"{chosen.words}; less loaded of two drawn, {against}")

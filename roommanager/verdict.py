"""Is a module dead, ill, or merely out of etcd's sight? Pure: no I/O, no clock.

A vanished lease alone proves only that a module cannot reach etcd: it is called dead when a
direct probe fails too, and not while many vanish together, for that is etcd's trouble and not
theirs. ``vigil`` gathers the signs and owns the clock.
"""

from dataclasses import dataclass
from enum import StrEnum

ILL_SECONDS = 5.0  # leased, and saying so long that it is unhealthy
PATIENCE_SECONDS = 900.0  # so long a module without a lease keeps its rooms if it answers
# Longer than any living module needs to take a new lease; short for listeners of a dead one.
UNASKED_SECONDS = 30.0  # so long it keeps them if nobody knows where to ask it
REFUSALS = 2  # one may meet a process that is just being started again


class Answer(StrEnum):
    """What a direct probe came to."""

    ANSWERS = "answers"
    REFUSED = "refused"  # nobody listens there, or somebody else: it surely does not run
    SILENT = "silent"  # no word in time; it may run all the same
    UNASKED = "unasked"  # nobody knows an address of it


class Fitness(StrEnum):
    WELL = "well"
    UNSURE = "unsure"  # its rooms stay
    ILL = "ill"  # alive, but its rooms should go elsewhere
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` in words, without a subject. ``proven``: what was probed does surely not run.

    ``answers``: it has no lease, but answers, and no mass loss explains that.
    """

    fitness: Fitness
    reason: str = ""
    proven: bool = False
    answers: bool = False


WELL = Verdict(Fitness.WELL)


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of one module; seconds on our own clock.

    ``gone_seconds``: without a lease for so long (None: leased); ``ill_seconds``: saying so long
    that it is unhealthy, with ``complaint``; ``answer``: of the last probe (None: none yet), and
    ``refusals``: how many in a row were refused; ``held``: by the rule of mass losses.
    """

    gone_seconds: float | None = None
    ill_seconds: float | None = None
    complaint: str = ""
    answer: Answer | None = None
    refusals: int = 0
    held: bool = False


def judge(signs: Signs) -> Verdict:
    """
    >>> judge(Signs(gone_seconds=0.1))
    Verdict(fitness=<Fitness.UNSURE: 'unsure'>, reason='its lease is gone; being asked directly', \
proven=False, answers=False)
    >>> judge(Signs(gone_seconds=1.0, answer=Answer.SILENT)).fitness
    <Fitness.DEAD: 'dead'>
    """
    if signs.gone_seconds is None:
        return _leased(signs)
    refused = signs.refusals >= REFUSALS
    if not refused and signs.answer is not Answer.SILENT:
        return _answering(signs)
    silent = "nobody listens where it was" if refused else "it does not answer when asked directly"
    if signs.held:
        why = f"its lease is gone and {silent}, but many vanished together: waiting for them"
        return Verdict(Fitness.UNSURE, why)
    return Verdict(Fitness.DEAD, f"its lease is gone and {silent}", proven=refused)


def _leased(signs: Signs) -> Verdict:
    if signs.ill_seconds is None or signs.ill_seconds < ILL_SECONDS:
        return WELL
    words = "it says it is unhealthy"
    why = f"{words}: {signs.complaint}" if signs.complaint else words
    return Verdict(Fitness.ILL, why, proven=signs.refusals >= REFUSALS)


def _answering(signs: Signs) -> Verdict:
    """No lease, and no failed probe that counts."""
    gone = signs.gone_seconds or 0.0
    if signs.answer is Answer.UNASKED:
        return _unasked(gone, held=signs.held)
    if gone >= PATIENCE_SECONDS and not signs.held:
        minutes = round(PATIENCE_SECONDS / 60)
        return Verdict(Fitness.DEAD, f"its lease has been gone for {minutes} minutes")
    if signs.answer is Answer.ANSWERS:
        why = "its lease is gone, but it answers when asked directly"
        return Verdict(Fitness.UNSURE, why, answers=not signs.held)
    return Verdict(Fitness.UNSURE, "its lease is gone; being asked directly")


def _unasked(gone: float, *, held: bool) -> Verdict:
    fitness = Fitness.UNSURE if held or gone < UNASKED_SECONDS else Fitness.DEAD
    return Verdict(fitness, "its lease is gone, and nobody knows where to ask it")


def is_mass_loss(alive: int, vanished: int) -> bool:
    """Of one kind: the leased, and those whose lease vanished within the last TTL.

    >>> [is_mass_loss(a, v) for a, v in ((0, 1), (1, 1), (0, 2), (2, 2), (2, 3), (3, 3))]
    [False, False, True, False, True, False]
    """
    return vanished >= 2 and vanished > alive

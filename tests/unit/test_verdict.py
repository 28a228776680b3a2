"""Which signs make a module dead, ill, or only doubtful."""

import pytest

from roommanager.verdict import PATIENCE_SECONDS, WELL, Answer, Fitness, Signs, judge

GONE, ILL = Signs(gone_seconds=3.0), 5.0
ANSWERS, REFUSED, SILENT = Answer.ANSWERS, Answer.REFUSED, Answer.SILENT


@pytest.mark.parametrize(
    ("signs", "fitness", "proven", "answers"),
    [
        (Signs(), Fitness.WELL, False, False),
        (Signs(ill_seconds=4.9, complaint="x"), Fitness.WELL, False, False),
        (Signs(ill_seconds=ILL, complaint="x"), Fitness.ILL, False, False),
        (Signs(ill_seconds=ILL, answer=SILENT), Fitness.ILL, False, False),
        (Signs(ill_seconds=ILL, answer=REFUSED, refusals=1), Fitness.ILL, False, False),
        (Signs(ill_seconds=ILL, answer=REFUSED, refusals=2), Fitness.ILL, True, False),
        (Signs(ill_seconds=ILL, held=True), Fitness.ILL, False, False),
        (GONE, Fitness.UNSURE, False, False),
        (Signs(gone_seconds=3.0, answer=ANSWERS), Fitness.UNSURE, False, True),
        (Signs(gone_seconds=3.0, answer=ANSWERS, held=True), Fitness.UNSURE, False, False),
        (Signs(gone_seconds=3.0, answer=REFUSED, refusals=1), Fitness.UNSURE, False, False),
        (Signs(gone_seconds=3.0, answer=REFUSED, refusals=2), Fitness.DEAD, True, False),
        (Signs(gone_seconds=3.0, answer=REFUSED, refusals=2, held=True), *3 * [None]),
        (Signs(gone_seconds=3.0, answer=SILENT), Fitness.DEAD, False, False),
        (Signs(gone_seconds=3.0, answer=SILENT, held=True), *3 * [None]),
        (Signs(gone_seconds=PATIENCE_SECONDS - 1, answer=ANSWERS), Fitness.UNSURE, False, True),
        (Signs(gone_seconds=PATIENCE_SECONDS, answer=ANSWERS), Fitness.DEAD, False, False),
        (Signs(gone_seconds=PATIENCE_SECONDS, answer=ANSWERS, held=True), *3 * [None]),
        (Signs(gone_seconds=PATIENCE_SECONDS), Fitness.DEAD, False, False),
    ],
)
def test_verdict(signs: Signs, fitness: Fitness | None, proven: bool, answers: bool) -> None:
    """None stands for what is held: unsure, and nothing is concluded."""
    verdict = judge(signs)
    expected = (fitness, proven, answers) if fitness else (Fitness.UNSURE, False, False)
    assert (verdict.fitness, verdict.proven, verdict.answers) == expected
    assert verdict == WELL or verdict.reason


def test_a_verdict_does_not_change_with_every_second() -> None:
    """Each change is told and logged: reasons hold no running numbers."""
    assert judge(Signs(gone_seconds=3.0)) == judge(Signs(gone_seconds=4.0))

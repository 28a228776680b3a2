"""The simulation finds what it is there to find: bugs planted in memory, one at a time."""

from contextlib import AbstractContextManager
from unittest import mock

import pytest

from pkg.assignments import Assigned, Assignments
from pkg.model import Kind
from roommanager import verdict, vigil
from tests.simulation import steps
from tests.simulation.laws import ViolationError
from tests.simulation.play import play, simulate
from tests.simulation.scenarios import Scenario

EXAMPLES = 60


def no_hold() -> AbstractContextManager[object]:
    """A mass loss of leases is taken for a mass death, and nobody is asked directly."""

    def judge(signs: verdict.Signs) -> verdict.Verdict:
        if signs.gone_seconds is None:
            return verdict.judge(signs)
        return verdict.Verdict(verdict.Fitness.DEAD, "its lease is gone")

    return mock.patch.object(vigil, "judge", judge)


def slots_for_ever() -> AbstractContextManager[object]:
    """A module never gives a place back."""

    async def withdraw(self: Assignments, assigned: Assigned, leaf: str, epochs: object) -> None:
        assert self._kind in Kind

    return mock.patch.object(Assignments, "withdraw", withdraw)


@pytest.mark.timeout(600)
def test_a_planted_bug_is_found() -> None:
    assert simulate(EXAMPLES, patch=slots_for_ever) is not None


def test_a_mass_loss_that_moves_rooms_is_found() -> None:
    paused = Scenario(seed=1, on_air=3, steps=(steps.StopEtcd("pause", 15.0), steps.Advance(31.0)))
    assert play(paused).failure is None
    with no_hold():
        assert isinstance(play(paused).failure, ViolationError)

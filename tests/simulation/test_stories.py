"""The rare turns, each led to on purpose: what random steps seldom reach, and every run must."""

import pytest

from pkg.model import Mark
from tests.simulation import steps
from tests.simulation.play import play
from tests.simulation.scenarios import Scenario
from tests.simulation.steps import Advance, Step

LONG = Advance(31.0)
STORIES: dict[str, tuple[Step, ...]] = {
    "moved.janus: directly": (steps.KillJanusHost("j1", dark=True, seconds=31.0), LONG),
    "moved.janus: nobody listens": (
        steps.KillJanusHost("j1", dark=False, seconds=31.0),
        steps.KillJanusHost("j2", dark=False, seconds=15.0),
        LONG,
    ),
    "room.dropped_previous": (
        steps.SetMark("m1", Mark.DRAINING),
        steps.SetMark("m2", Mark.DRAINING),
        LONG,
        LONG,
        LONG,
    ),
    "slot.mended": (steps.DeleteSlot(1), LONG, LONG, LONG),
    "moved.mixer: directly": (steps.KillHost("m1", 31.0), steps.KillHost("m2", 31.0), LONG),
    "moved.mixer: nobody listens": (
        steps.KillDaemon("m1", 31.0),
        steps.KillDaemon("m3", 31.0),
        LONG,
    ),
    "moved.mixer: FFmpeg failed": (
        steps.HarmFfmpeg("m1", "curse", 31.0),
        steps.HarmFfmpeg("m2", "curse", 31.0),
        LONG,
    ),
    "fleet.mass_loss": (steps.StopEtcd("pause", 15.0), LONG),
}


@pytest.mark.parametrize("turn", STORIES)
def test_it_ends_in_order(turn: str) -> None:
    outcome = play(Scenario(seed=1, on_air=3, steps=STORIES[turn]))
    assert outcome.failure is None
    assert outcome.reached[turn] > 0

"""A simulation that cannot be repeated finds nothing: one seed, one story."""

import os
import subprocess
import sys

from pkg.model import Mark
from tests.simulation import steps
from tests.simulation.play import play
from tests.simulation.scenarios import Scenario

EVENTFUL = Scenario(
    seed=7,
    on_air=3,
    steps=(
        steps.KillDaemon("m1", 2.0),
        steps.Ask("stop", "a", "r2"),
        steps.Advance(0.5),
        steps.KillHost("m2", 31.0),
        steps.StopJanus("j1", "die", 15.0),
        steps.Advance(15.0),
        steps.StopEtcd("pause", 11.0),
        steps.Ask("delete", "b", "r1"),
        steps.Pause("r1", 11.0),
        steps.Advance(11.0),
        steps.SetMark("m3", Mark.DRAINING),
        steps.HarmLine("j2", "lose", 2.0),
        steps.Advance(31.0),
    ),
)


def test_the_same_seed_gives_the_same_trace() -> None:
    first, again = play(EVENTFUL), play(EVENTFUL)
    assert first.failure is None
    assert first.trace == again.trace


def test_the_order_of_sets_plays_no_part() -> None:
    traces = {_trace_under(hash_seed) for hash_seed in ("0", "1", "77")}
    assert len(traces) == 1


def _trace_under(hash_seed: str) -> str:
    code = "from tests.simulation.test_replay import *; print(play(EVENTFUL).trace)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()

"""Which steps are tried, how often, and with which figures: those around the limits."""

from dataclasses import dataclass

from hypothesis import strategies as st

from pkg.model import Mark
from tests.simulation import steps
from tests.simulation.steps import Step
from tests.simulation.world import JANUSES, MANAGERS, MIXERS, ROOMS

DAEMONS = (*MANAGERS, *JANUSES, *MIXERS)
REQUESTS = ("create", "destroy", "rtp_forward", "listforwarders", "stop_rtp_forward", "list")


@dataclass(frozen=True)
class Scenario:
    """``on_air``: so many rooms are on air before the first step. ``seed``: all the noise."""

    seed: int
    on_air: int
    steps: tuple[Step, ...]


seconds = st.sampled_from([0.1, 0.5, 2.0, 5.0, 9.0, 9.9, 10.1, 11.0, 15.0, 31.0])
janus = st.sampled_from(JANUSES)
ask = st.builds(
    steps.Ask,
    st.sampled_from(["create", "start", "start", "stop", "delete"]),
    st.sampled_from(ROOMS),
    st.sampled_from(MANAGERS),
)
faults: list[st.SearchStrategy[Step]] = [
    st.builds(steps.SetMark, st.sampled_from(MIXERS + JANUSES), st.sampled_from(list(Mark))),
    st.builds(steps.KillDaemon, st.sampled_from(DAEMONS), seconds),
    st.builds(steps.KillHost, st.sampled_from(MIXERS), seconds),
    st.builds(steps.KillJanusHost, janus, st.booleans(), seconds),
    st.builds(steps.Pause, st.sampled_from(DAEMONS), seconds),
    st.builds(
        steps.StopJanus, st.sampled_from(JANUSES), st.sampled_from(["die", "freeze"]), seconds
    ),
    st.builds(steps.SlowJanus, st.sampled_from(JANUSES), st.sampled_from([0.1, 2.0, 4.0]), seconds),
    st.builds(
        steps.SpoilJanus,
        st.sampled_from(JANUSES),
        st.sampled_from(REQUESTS),
        st.booleans(),
        st.sampled_from([0.0, 1.0, 8.0]),
    ),
    st.builds(
        steps.HarmFfmpeg,
        st.sampled_from(MIXERS),
        st.sampled_from(["kill", "stick", "curse"]),
        seconds,
    ),
    st.builds(steps.FillDisk, st.sampled_from(MIXERS), seconds),
    st.builds(steps.StopEtcd, st.sampled_from(["pause", "die"]), seconds),
    st.builds(
        steps.HarmLine, st.sampled_from(DAEMONS), st.sampled_from(["hole", "cut", "lose"]), seconds
    ),
    st.builds(steps.Compact),
    st.builds(steps.DeleteSlot, st.integers(0, 5)),
]
WAITS = (0.0, 0.0, 0.01, 0.1, 0.5, 2.0, 5.0, 9.0, 11.0, 15.0, 31.0)
act: st.SearchStrategy[Step] = st.one_of(ask, st.sampled_from(faults).flatmap(lambda fault: fault))
Moment = tuple[Step, ...]


def _moment(step: Step, wait: float) -> Moment:
    return (step, steps.Advance(wait)) if wait else (step,)


def _opening(room: str, via: str) -> Moment:
    """Made and started: what two asks in a row seldom happen to do."""
    make, start = steps.Ask("create", room, via), steps.Ask("start", room, via)
    return (make, steps.Advance(0.5), start)


moment = st.one_of(
    st.builds(_moment, act, st.sampled_from(WAITS)),
    st.builds(_moment, act, st.sampled_from(WAITS)),
    st.builds(_moment, act, st.sampled_from(WAITS)),
    st.builds(_opening, st.sampled_from(ROOMS), st.sampled_from(MANAGERS)),
)


def _told(moments: list[Moment]) -> tuple[Step, ...]:
    """One thing after the other, with time between them."""
    return tuple(step for moment in moments for step in moment)


SCENARIOS = st.builds(
    Scenario,
    st.integers(0, 2**32 - 1),
    st.sampled_from([3, 2, 1, 0]),
    st.lists(moment, min_size=2, max_size=9).map(_told),
)

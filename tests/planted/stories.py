"""Stories for the simulation that lead straight to where a planted bug shows."""

from pkg.model import Mark
from tests.planted.planting import simulation
from tests.simulation import steps
from tests.simulation.scenarios import Scenario

Advance, Ask = steps.Advance, steps.Ask

lost_answers = simulation(
    "answers to users are lost",
    Scenario(
        seed=1,
        on_air=3,
        steps=(
            *(steps.HarmLine("r1", "lose", 2.0), Ask("stop", "a", "r1"), Advance(2.0)),
            *(steps.HarmLine("r1", "lose", 2.0), Ask("delete", "b", "r1"), Advance(9.0)),
            *(steps.HarmLine("r1", "lose", 0.1), Ask("delete", "a", "r1"), Advance(2.0)),
            *(steps.HarmLine("r1", "lose", 0.1), Ask("create", "b", "r1"), Advance(5.0)),
        ),
    ),
)
hosts_die = simulation(
    "two mixers' hosts die",
    Scenario(
        seed=1,
        on_air=3,
        steps=(
            *(steps.KillHost("m1", 31.0), Advance(15.0), steps.KillHost("m2", 31.0)),
            *(Advance(0.5), steps.KillDaemon("r1", 2.0), Advance(31.0)),
        ),
    ),
)
few_places = simulation(
    "three rooms start at two places",
    Scenario(
        seed=1,
        on_air=0,
        steps=(
            *(steps.SetMark("m2", Mark.DISABLED), steps.SetMark("m3", Mark.DISABLED)),
            *(Ask("create", room, "r1") for room in "abc"),
            Advance(0.5),
            *(Ask("start", "a", "r1"), Ask("start", "b", "r2"), Ask("start", "c", "r1")),
            Advance(5.0),
        ),
    ),
)

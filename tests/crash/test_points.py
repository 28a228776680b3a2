"""Each daemon dies once after each of its side effects, and everything comes right by itself.

I8, I13, I14: what was asked for happens, the user's calls being repeated as they may be, and
nothing is left in the end. Seconds run from the death to the end of the flow, with nothing left.
``ONAIR_TEST_CRASH_FLOWS=all`` runs every flow, or some by their names with commas between.
"""

import os

import anyio
import pytest

from tests.crash.flows import FLOWS
from tests.crash.points import POINTS, known
from tests.crash.stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

CONVERGED_SECONDS = 30.0
LEFT_SECONDS = 35.0  # what nobody speaks for ends when two sweeps have seen it
# The flow itself waits: for a lease to run out, or for the window of the mixer that is left.
PATIENCE = {"mixer_is_lost": 15.0, "janus_is_lost": 15.0, "drain_to_the_end": 35.0}
# All of them take some six minutes; a room's life has half of the points.
CHOSEN = os.environ.get("ONAIR_TEST_CRASH_FLOWS", "life").split(",")  # noqa: TID251
CASES = [
    (kind, flow)
    for kind, flows in POINTS.items()
    for flow in flows
    if flow in CHOSEN or "all" in CHOSEN
]


@pytest.mark.parametrize(("kind", "flow"), CASES)
async def test_dies_after_each_side_effect(crashing: Stage, kind: str, flow: str) -> None:
    assert POINTS[kind][flow]
    for number, point in enumerate(POINTS[kind][flow]):
        room = f"{kind}-{flow.replace('_', '-')}-{number}"
        print(f"{kind}: {point}: {await die_at(crashing, kind, flow, point, room):.1f} s")
    strangers = crashing.met() - known(kind)
    assert not strangers, f"side effects that nobody dies at: {sorted(strangers)}"


async def die_at(made: Stage, kind: str, flow: str, point: str, room: str) -> float:
    """Run the flow with a death at the point; answers the seconds it took to come right."""
    made.arm(kind, point)
    went_well = False
    try:
        await FLOWS[flow](made, room)
        await made.stack.nothing_remains(within=LEFT_SECONDS)
        went_well = True
    finally:
        made.disarm()
        if not went_well:
            await made.clean_up(room)
    ended = anyio.current_time()
    assert made.died_at is not None, f"{flow} never came to {point}; it met {sorted(made.met())}"
    seconds = ended - made.died_at
    assert seconds <= CONVERGED_SECONDS + PATIENCE.get(flow, 0.0), f"{point}: {seconds:.1f} s"
    return seconds

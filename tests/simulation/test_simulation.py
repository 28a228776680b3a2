"""The production daemons under random wishes and faults, in virtual time (reliability.md §5).

``ONAIR_TEST_SIMULATION_EXAMPLES`` and ``ONAIR_TEST_SIMULATION_SEED`` make a long run, or another
one. Each failure prints the scenario that broke a law: ``play(Scenario(…))`` does it again.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.play import shrunk, simulate
from tests.simulation.reach import missing, noted

SHARDS = 8
EXAMPLES = int(os.environ.get("ONAIR_TEST_SIMULATION_EXAMPLES", "1000"))  # noqa: TID251
SEED = int(os.environ.get("ONAIR_TEST_SIMULATION_SEED", "0"))  # noqa: TID251


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # noqa: TID251
    folder = shared / "simulation"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.timeout(0 if EXAMPLES > 2000 else 900)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_law_is_broken(shard: int, counts: Path) -> None:
    """From 2,000 on the last shard also sees that all that can happen did happen."""
    reached: Counter[str] = Counter()
    found = simulate(EXAMPLES // SHARDS, seed=SEED * SHARDS + shard, reached=reached)
    if found is not None:
        scenario, why = shrunk(*found)
        raise AssertionError(f"{why}\nplay({scenario!r})") from why
    total = noted(counts, shard, reached)
    if total is not None and total["examples"] >= 2000:
        assert not missing(total), "never happened in this run"

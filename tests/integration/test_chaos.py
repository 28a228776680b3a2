"""``./onair chaos`` against an ``up`` of two mixers: no violation, and a planted one is told.

``ONAIR_TEST_CHAOS_MINUTES`` sets how long the clean run is (default 0.5), ``ONAIR_TEST_SEED`` its
schedule; then every kind of fault is done, not only those that take a few seconds.
"""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli import leftovers
from tests.support.up import Running, Starter, onair

MINUTES = os.environ.get("ONAIR_TEST_CHAOS_MINUTES")  # noqa: TID251
SEED = os.environ.get("ONAIR_TEST_SEED", "3")  # noqa: TID251
QUICK = ("--only=kill -9 mixer", "--only=kill -9 ffmpeg", "--only=pause 3 s")
MOST_SECONDS = 60 * float(MINUTES or 0.5) + 300
pytestmark = [
    *(pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg),
    pytest.mark.timeout(MOST_SECONDS + 60),
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    starter = Starter(tmp_path_factory.mktemp("chaos"))
    yield starter.up("--mixers=2")
    starter.end()


def chaos(up: Running, *options: str) -> "subprocess.CompletedProcess[str]":
    return onair(up.state, "chaos", *options, seconds=MOST_SECONDS)


def ffmpegs_of_ours(up: Running) -> list[psutil.Process]:
    found = leftovers.find(up.state.resolve())
    return [p for p in found if marks(p).get("ONAIR_ROOM", "").startswith("onair-chaos-")]


def marks(process: psutil.Process) -> dict[str, str]:
    """Its environment; nothing of one that has just ended."""
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def test_an_up_stands_it_and_is_as_before(up: Running) -> None:
    before = up.endpoints["pids"]
    chosen = ["--rooms=20"] if MINUTES else [*QUICK, "--rooms=5"]
    done = chaos(up, f"--minutes={MINUTES or 0.5}", f"--seed={SEED}", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations, nothing left over" in done.stdout
    assert ffmpegs_of_ours(up) == []
    assert set(up.endpoints["pids"]) == set(before)
    assert up.process.poll() is None


def test_a_planted_violation_is_told_and_the_exit_code_is_1(up: Running) -> None:
    """A second process that bears the marker of a living FFmpeg: port and epoch are not its own.

    The mixer ends it on sight, perhaps before anybody else has looked: then there is another.
    """
    planted: list[subprocess.Popen[bytes]] = []
    over = threading.Event()

    def plant() -> None:
        while not over.wait(0.1):
            if all(process.poll() is not None for process in planted):
                stolen = [env for process in ffmpegs_of_ours(up) if (env := marks(process))]
                planted.extend(subprocess.Popen(["sleep", "5"], env=env) for env in stolen[:1])

    planting = threading.Thread(target=plant)
    planting.start()
    try:
        done = chaos(up, "--minutes=0.1", "--seed=1", "--rooms=1", "--only=pause 3 s janus-man")
    finally:
        over.set()
        planting.join()
        for process in planted:
            process.kill()
            process.wait()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "belongs to FFmpeg" in done.stdout
    assert "VIOLATIONS" in done.stdout
    assert ffmpegs_of_ours(up) == []


def test_without_an_up_it_cannot_run(tmp_path: Path) -> None:
    done = onair(tmp_path, "chaos", "--minutes=0.1", seconds=MOST_SECONDS)
    assert done.returncode == 2
    assert "run ./onair up first" in done.stdout

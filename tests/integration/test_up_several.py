"""``up`` with more than one of each part: all there, all in endpoints.json, none left over."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cli import leftovers, ports
from cli.site import MOST
from tests.support.up import Starter, until

pytestmark = [pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg, pytest.mark.timeout(300)]
PARTS = {"etcd", "janus", "room-manager", "janus-manager", "mixer", "gateway", "streams"}


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    made = Starter(tmp_path)
    yield made
    made.end()


def test_two_of_each_start_and_stop_as_one(starter: Starter) -> None:
    running = starter.up("--mixers=2", "--januses=2", "--room-managers=2", "--gateways=2")
    found = running.endpoints
    assert set(found["pids"]) == PARTS | {f"{p}-2" for p in PARTS - {"etcd", "streams"}}
    further = {name: urls for name, [urls] in found["further"].items()}
    assert set(further) == {"apis", "gateways", "hls", "janusAdmins"}
    assert httpx.get(f"{further['apis']}/readyz").status_code == 200
    own = [f"{kind}-{running.base}{n}" for kind in ("janus", "mixer") for n in ("", "-2")]
    assert {m["moduleId"]: m["health"] for m in running.modules()} == dict.fromkeys(own, "healthy")
    ids = {m["moduleId"]: m["endpoints"].get("origin") for m in running.modules()}
    assert ids[f"mixer-{running.base}-2"] == further["hls"]
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0, running.output
    assert leftovers.find(running.state.resolve()) == []
    assert ports.taken(range(running.base, running.base + MOST * ports.TCP_PORTS)) == []
    assert not any(psutil.pid_exists(pid) for pid in found["pids"].values())


def test_a_second_mixer_that_dies_is_started_again_by_its_name(starter: Starter) -> None:
    running = starter.up("--mixers=2")
    before = running.endpoints["pids"]["mixer-2"]
    os.kill(before, signal.SIGKILL)
    until(lambda: running.endpoints["pids"]["mixer-2"] != before)
    until(lambda: f"is back (pid {running.endpoints['pids']['mixer-2']})" in running.output)

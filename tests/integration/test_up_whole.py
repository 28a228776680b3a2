"""``up`` on real etcd, Janus and daemons: what it promises in contract.md §1, and no leftovers."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cli import leftovers, ports
from tests.support.up import Running, Starter, until

pytestmark = [pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg, pytest.mark.timeout(300)]
STOP_SECONDS = 60.0
PARTS = {"etcd", "janus", "room-manager", "janus-manager", "mixer", "gateway", "streams"}


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    made = Starter(tmp_path)
    yield made
    made.end()


def stop(running: Running, number: signal.Signals) -> None:
    running.process.send_signal(number)
    assert running.process.wait(STOP_SECONDS) == 0, running.output


def assert_nothing_left(running: Running) -> None:
    assert leftovers.find(running.state.resolve()) == []
    assert ports.taken(range(running.base, running.base + ports.TCP_PORTS)) == []
    assert not (running.state / "endpoints.json").exists()
    assert not (running.state / "lock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_tells_where_everything_is_and_leaves_nothing(
    starter: Starter, number: signal.Signals
) -> None:
    running = starter.up()
    found = running.endpoints
    urls = {"api", "gateway", "hls", "etcd", "streams", "janusAdmin"}
    assert set(found) == {*urls, "apiKey", "pids"}
    assert set(found["pids"]) == PARTS
    names = {part: psutil.Process(pid).name() for part, pid in found["pids"].items()}
    assert (names["etcd"], names["janus"]) == ("etcd", "janus")
    assert httpx.get(f"{found['api']}/readyz").status_code == 200
    assert {m["kind"]: m["health"] for m in running.modules()} == dict.fromkeys(
        ("janus", "mixer"), "healthy"
    )
    assert found["apiKey"] in running.output
    stop(running, number)
    assert_nothing_left(running)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_killed_part_is_started_again_and_its_pid_published(starter: Starter, part: str) -> None:
    running = starter.up()
    before = running.endpoints["pids"]
    os.kill(before[part], signal.SIGKILL)
    until(lambda: running.endpoints["pids"][part] != before[part])
    until(lambda: f"is back (pid {running.endpoints['pids'][part]})" in running.output)
    assert "died (SIGKILL); starting it again" in running.output
    assert {p: pid for p, pid in running.endpoints["pids"].items() if p != part} == {
        p: pid for p, pid in before.items() if p != part
    }
    stop(running, signal.SIGTERM)
    assert_nothing_left(running)


def test_after_sigkill_of_up_the_next_one_starts_clean(starter: Starter) -> None:
    killed = starter.up()
    before = killed.endpoints["pids"]
    killed.process.kill()
    killed.process.wait()
    assert all(psutil.pid_exists(pid) for pid in before.values())  # audio would go on
    (killed.state / "endpoints.json").unlink()
    running = starter.up()
    assert "of an earlier up that was killed" in running.output
    assert not {p.pid for p in leftovers.find(running.state.resolve())} & set(before.values())
    stop(running, signal.SIGTERM)
    assert_nothing_left(running)


def test_a_second_up_is_refused_by_the_pid_of_the_first(starter: Starter) -> None:
    first = starter.up()
    second = starter.spawn()
    assert second.process.wait(STOP_SECONDS) == 1
    assert f"pid {first.process.pid}" in second.output
    assert first.ready()


def test_a_taken_port_is_named_before_anything_starts(starter: Starter) -> None:
    with socket.socket() as stranger:
        # connections of an earlier test's `up` may still be in TIME_WAIT there
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((ports.LOOPBACK, starter.base + 5))
        stranger.listen()
        refused = starter.spawn()
        assert refused.process.wait(STOP_SECONDS) == 1
    assert f"port {starter.base + 5} is taken by process {os.getpid()}" in refused.output
    assert "--port-base" in refused.output
    assert not list((refused.state / "logs").iterdir())


def test_an_etcd_that_does_not_answer_is_named_before_anything_starts(starter: Starter) -> None:
    url = f"http://127.0.0.1:{starter.base + 3}"
    refused = starter.spawn(f"--etcd={url}")
    assert refused.process.wait(STOP_SECONDS) == 1
    assert f"--etcd {url}" in refused.output
    assert not list((refused.state / "logs").iterdir())

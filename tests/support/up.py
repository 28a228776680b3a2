"""A whole ``up`` as a process, for tests: started on free ports, waited for, and ended.

``Starter(tmp_path).up()`` answers once everything is ready; ``end`` leaves nothing, whatever the
test did.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli import leftovers, ports
from cli.site import MOST
from cli.statedir import ROOT

START_SECONDS = 120.0  # a daemon's alone took 22 s beside two busy loops


def until(fact: Callable[[], object], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def onair(state: Path, *args: str, seconds: float) -> "subprocess.CompletedProcess[str]":
    """``./onair`` as somebody beside the ``up`` of this state dir; whatever its exit code."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *args],
        env=os.environ | {"PYTHONPATH": str(ROOT), "ONAIR_STATE_DIR": str(state), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    state: Path
    said: Path
    base: int

    @property
    def endpoints(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.state / "endpoints.json").read_text())
        return value

    @property
    def output(self) -> str:
        return self.said.read_text()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.output
        return (self.state / "endpoints.json").exists()

    def shell(self, script: str) -> str:
        """Run bash at the repository's root, as somebody beside this ``up``; answers its stdout."""
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=ROOT,
            env=os.environ | {"ONAIR_STATE_DIR": str(self.state), "ONAIR_NO_INSTALL": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def modules(self) -> list[dict[str, Any]]:
        key = self.endpoints["apiKey"]
        answer = httpx.get(
            f"{self.endpoints['api']}/api/modules", headers={"Authorization": f"Bearer {key}"}
        )
        found: list[dict[str, Any]] = answer.raise_for_status().json()["modules"]
        return found


class Starter:
    """Starts ``up``s on one state dir, below ``folder``; ends what a test leaves of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, free_base()
        self.started: list[Running] = []

    def spawn(self, *options: str) -> Running:
        state = self.folder / "state"
        said = self.folder / f"said-{len(self.started)}"
        argv = [sys.executable, "-P", "-m", "cli", "up", f"--state-dir={state}"]
        with said.open("wb") as out:
            process = subprocess.Popen(
                [*argv, f"--port-base={self.base}", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                cwd=self.folder,
            )
        self.started.append(Running(process, state, said, self.base))
        return self.started[-1]

    def up(self, *options: str) -> Running:
        running = self.spawn(*options)
        until(running.ready)
        return running

    def end(self) -> None:
        for running in self.started:
            running.process.kill()
            running.process.wait()
            for process in leftovers.find(running.state.resolve()):
                process.kill()


def free_base() -> int:
    """A base whose TCP ports are free, four of each part's, and whose UDP ports nobody else gets.

    ``up`` takes 600 UDP ports a block by ``N // 10 % 37``: each xdist worker keeps to four of them.
    Below 32768 the kernel hands out no port to clients meanwhile.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for base in range(11840 + 40 * (worker % 9), 32000, 10 * ports.UDP_BLOCKS):
        if not ports.taken(range(base, base + MOST * ports.TCP_PORTS)):
            return base
    raise AssertionError("no free ports")

"""A private Onair for one benchmark: `./onair up` on free ports and a folder of its own.

Nothing is left behind: what it started is ended and its folder deleted, also when the benchmark
is interrupted; should the benchmark itself be killed, the kernel tells ``up`` (pdeathsig).
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from cli import leftovers, ports
from cli.site import Site
from cli.statedir import ROOT, StateDir
from pkg.errors import OnairError

START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
FIRST_BASE, LAST_BASE = 21_000, 30_000  # below the kernel's ephemeral ports


class StackError(OnairError):
    """The private Onair did not start; the text holds its last words."""


@dataclass(frozen=True, slots=True)
class Stack:
    site: Site
    pids: dict[str, int]

    @property
    def api_key(self) -> str:
        return self.site.secret("api-key")

    @property
    def scratch(self) -> Path:
        """For what the benchmark itself starts; deleted with the rest."""
        return self.site.state.path / "bench"


@asynccontextmanager
async def private_stack() -> AsyncGenerator[Stack]:
    """Raises StackError."""
    with tempfile.TemporaryDirectory(prefix="onair-bench-", ignore_cleanup_errors=True) as folder:
        state, base = StateDir.at(Path(folder) / "state"), free_base()
        said = Path(folder) / "said"
        options = [f"--state-dir={state.path}", f"--port-base={base}"]
        process = spawn(["cli", "up", *options], said)
        try:
            await _until_ready(process, state, said)
            record: dict[str, Any] = json.loads(state.endpoints.read_text())
            stack = Stack(Site(state, ports.plan(base)), record["pids"])
            stack.scratch.mkdir()
            yield stack
        finally:
            with anyio.CancelScope(shield=True):
                await end(process)
                await leftovers.end(leftovers.find(state.path), grace_seconds=1.0)


def spawn(
    arguments: Sequence[str], said: Path, environ: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """One of our programs (``python -m …``), ended with us, its words in a file."""
    with said.open("ab") as out:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            start_new_session=True,  # Ctrl-C reaches us, and we end it
        )


async def _until_ready(process: subprocess.Popen[bytes], state: StateDir, said: Path) -> None:
    with anyio.move_on_after(START_SECONDS):
        while process.poll() is None:
            if state.endpoints.exists():
                return
            await anyio.sleep(POLL_SECONDS)
    raise StackError(f"the private Onair did not start:\n{_tail(said)}")


def _tail(said: Path) -> str:
    return said.read_text(errors="replace")[-2000:]


async def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL if that does not help; reaped."""
    process.send_signal(signal.SIGTERM)
    with anyio.move_on_after(STOP_SECONDS):
        while process.poll() is None:  # noqa: ASYNC110 - a process has no event
            await anyio.sleep(POLL_SECONDS)
        return
    process.kill()
    process.wait()


def free_base() -> int:
    """Eight TCP ports in a row that are free, another each time."""
    bases = list(range(FIRST_BASE, LAST_BASE, ports.TCP_PORTS))
    random.shuffle(bases)
    for base in bases:
        if not ports.taken(range(base, base + ports.TCP_PORTS)):
            return base
    raise StackError("no eight free ports between 21000 and 30000")

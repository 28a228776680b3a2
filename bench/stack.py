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
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from cli import leftovers, ports
from cli.site import Many, Site
from cli.statedir import ROOT, StateDir
from pkg.errors import OnairError

ONE_OF_EACH = Many()
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
FIRST_BASE, LAST_BASE = 21_000, 30_000  # below the kernel's ephemeral ports


class StackError(OnairError):
    """The private Onair did not start; the text holds its last words."""


@dataclass(frozen=True, slots=True)
class Stack:
    """``pids`` as at the beginning; ``up_pid`` is the supervisor of them all."""

    site: Site
    pids: dict[str, int]
    up_pid: int

    @property
    def api_key(self) -> str:
        return self.site.secret("api-key")

    @property
    def modules(self) -> int:
        """How many mixers and Januses there are."""
        return self.site.many.mixers + self.site.many.januses

    def read_pids(self) -> dict[str, int]:
        """As they are now: what died was started again."""
        pids: dict[str, int] = json.loads(self.site.state.endpoints.read_text())["pids"]
        return pids

    @property
    def scratch(self) -> Path:
        """For what the benchmark itself starts; deleted with the rest."""
        return self.site.state.path / "bench"

    @contextmanager
    def supervisor_stopped(self) -> Iterator[None]:
        """``up`` does not start again what dies in the block."""
        os.kill(self.up_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.up_pid, signal.SIGCONT)


@asynccontextmanager
async def private_stack(
    many: Many = ONE_OF_EACH, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[Stack]:
    """``settings``: ``ONAIR_…`` variables for every daemon. Raises StackError."""
    with tempfile.TemporaryDirectory(prefix="onair-bench-", ignore_cleanup_errors=True) as folder:
        state, base = StateDir.at(Path(folder) / "state"), free_base()
        said = Path(folder) / "said"
        options = [f"--state-dir={state.path}", f"--port-base={base}", *_options(many)]
        process = spawn(["cli", "up", *options], said, settings)
        try:
            await _until_ready(process, state, said)
            record: dict[str, Any] = json.loads(state.endpoints.read_text())
            stack = Stack(Site(state, ports.plan(base), many=many), record["pids"], process.pid)
            stack.scratch.mkdir()
            yield stack
        finally:
            with anyio.CancelScope(shield=True):
                await end(process)
                await leftovers.end(leftovers.find(state.path), grace_seconds=1.0)


def _options(many: Many) -> list[str]:
    return [
        f"--mixers={many.mixers}",
        f"--januses={many.januses}",
        f"--room-managers={many.room_managers}",
        f"--gateways={many.gateways}",
    ]


def spawn(
    arguments: Sequence[str], said: Path, environ: Mapping[str, str] | None = None
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
    raise StackError(f"the private Onair did not start:\n{tail(said)}")


def tail(said: Path) -> str:
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
    """Ten TCP ports in a row that are free, another each time."""
    bases = list(range(FIRST_BASE, LAST_BASE, ports.TCP_PORTS))
    random.shuffle(bases)
    for base in bases:
        if not ports.taken(range(base, base + ports.TCP_PORTS)):
            return base
    raise StackError("no ten free ports between 21000 and 30000")

"""Keeps a set of processes running: starts them in order, restarts what dies, stops in order.

Knows nothing of etcd or Janus; ``parts`` says what they are. Each part is a process group (and
session) of its own, so that Ctrl-C reaches only us, and one writes to a file, not to a pipe.
"""

import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import NoReturn

import anyio
from anyio.abc import Process

from cli import logfile
from pkg import backoff
from pkg.errors import OnairError

Probe = Callable[[int], Awaitable[str | None]]  # pid → None when ready, else why not
Tell = Callable[[str, str], None]  # part, words

PROBE_SECONDS = 0.05
PROBE_SECONDS_RESTART = 0.25
BOOT_SECONDS = 60.0
GIVE_UP_AFTER = 3  # deaths before it was ever ready
MISUSE = 2  # the exit code of a wrong setting (pkg/config.py): trying again is no use
STEADY_SECONDS = 20.0  # lived this long: its earlier deaths are forgotten
BACKOFF_BASE_SECONDS = 0.3
BACKOFF_CAP_SECONDS = 15.0


class StartFailedError(OnairError):
    """A part did not become ready; the text says which, why, and shows its last words."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process. ``needs`` names parts that must be ready before its first start.

    Parts of the lowest ``stop_rank`` are stopped first, all of one rank at once.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    ready: Probe
    needs: tuple[str, ...] = ()
    stop_rank: int = 0
    stop_seconds: float = 5.0


@dataclass
class Keeper:
    """Keeps one part running while ``run`` runs; ``stop`` ends what is left after that."""

    part: Part
    tell: Tell
    changed: Callable[[], None]
    rng: random.Random
    ready: anyio.Event = field(default_factory=anyio.Event)  # once for all
    why_not: str = "not started"
    pid: int | None = None
    _process: Process | None = None
    _failures: int = 0
    _misused: bool = False

    async def run(self) -> NoReturn:
        """Until cancelled. Raises StartFailedError if the part never gets going."""
        while True:
            born = anyio.current_time()
            how = await self._live()
            steady = anyio.current_time() - born > STEADY_SECONDS
            self._failures = 1 if steady else self._failures + 1
            await self._mourn(how)

    async def stop(self) -> None:
        """SIGTERM, then, at the deadline, SIGKILL to its group."""
        if self._process is not None:
            await end(self._process, self.part.stop_seconds)

    def kill(self) -> None:
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)

    async def _live(self) -> str:
        """One life of the process; answers how it ended, in words."""
        try:
            with anyio.CancelScope(shield=True):  # or a process might start that nobody knows
                process = self._process = await spawn(self.part)
        except OSError as error:
            return f"could not be started: {error}"
        self.pid = process.pid
        if self.ready.is_set():
            self.changed()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_ready, process.pid)
            code = await process.wait()
            tasks.cancel_scope.cancel()
        self._misused = code == MISUSE
        self.why_not = f"died ({ending(code)})"
        return self.why_not

    async def _watch_ready(self, pid: int) -> None:
        again = self.ready.is_set()
        while (why_not := await self.part.ready(pid)) is not None:
            self.why_not = why_not
            await anyio.sleep(PROBE_SECONDS_RESTART if again else PROBE_SECONDS)
        self.ready.set()
        if again:
            self.tell(self.part.name, f"is back (pid {pid})")

    async def _mourn(self, how: str) -> None:
        never_ready = not self.ready.is_set()
        if never_ready and self._misused:
            raise StartFailedError(last_words(self.part, how))
        if self._failures % GIVE_UP_AFTER == 0:
            if never_ready:
                raise StartFailedError(last_words(self.part, how))
            self.tell(self.part.name, last_words(self.part, how))
        wait = backoff.delay(
            self._failures - 1, self.rng, base=BACKOFF_BASE_SECONDS, cap=BACKOFF_CAP_SECONDS
        )
        self.tell(self.part.name, f"{how}; starting it again in {wait:.1f} s")
        await anyio.sleep(wait)


class Supervisor:
    """All keepers together. ``run`` blocks for as long as the parts should run."""

    def __init__(
        self,
        parts: Sequence[Part],
        tell: Tell,
        changed: Callable[[], None],
        rng: random.Random,
        boot_seconds: float = BOOT_SECONDS,
    ) -> None:
        self._boot_seconds = boot_seconds
        self.keepers = {part.name: Keeper(part, tell, changed, rng) for part in parts}

    @property
    def pids(self) -> dict[str, int]:
        return {name: k.pid for name, k in self.keepers.items() if k.pid is not None}

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call ``on_ready``, go on until cancelled. Does not stop the parts.

        Raises StartFailedError (perhaps in a group) if a part does not get ready in time.
        """
        async with anyio.create_task_group() as tasks:
            for keeper in self.keepers.values():
                tasks.start_soon(self._run_in_turn, keeper)
            with anyio.move_on_after(self._boot_seconds) as boot:
                for keeper in self.keepers.values():
                    await keeper.ready.wait()
            if boot.cancelled_caught:
                raise StartFailedError(self._slow())
            on_ready()

    async def stop(self, between: Callable[[int], Awaitable[None]]) -> None:
        """Stop rank by rank; ``between`` is awaited after each. To be called after ``run``."""
        for rank in sorted({keeper.part.stop_rank for keeper in self.keepers.values()}):
            async with anyio.create_task_group() as tasks:
                for keeper in self.keepers.values():
                    if keeper.part.stop_rank == rank:
                        tasks.start_soon(keeper.stop)
            await between(rank)

    def kill(self) -> None:
        for keeper in self.keepers.values():
            keeper.kill()

    async def _run_in_turn(self, keeper: Keeper) -> None:
        for name in keeper.part.needs:
            if name in self.keepers:
                await self.keepers[name].ready.wait()
        await keeper.run()

    def _slow(self) -> str:
        waiting = [k for k in self.keepers.values() if not k.ready.is_set()]
        return "\n".join(
            f"not ready after {self._boot_seconds:.0f} s: " + last_words(k.part, k.why_not)
            for k in waiting
        )


async def spawn(part: Part) -> Process:
    """No shell, no inherited descriptor but its log. Raises OSError."""
    with logfile.open_for_part(part.log) as log:
        return await anyio.open_process(
            list(part.argv),
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            cwd=part.cwd,
            env=part.env,
            start_new_session=True,
        )


async def end(process: Process, seconds: float) -> None:
    """Stop one process and, whatever happens, the rest of its group."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(seconds):
            await process.wait()
    signal_group(process, signal.SIGKILL)
    await process.wait()


def signal_group(process: Process, number: signal.Signals) -> None:
    """A group keeps its number as long as any member lives; an empty one is no error."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def ending(code: int) -> str:
    """
    >>> ending(1), ending(-9)
    ('exit code 1', 'SIGKILL')
    """
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def last_words(part: Part, how: str) -> str:
    lines = logfile.last_lines(part.log)
    return f"{part.name} {how}. The end of {part.log}:\n" + "\n".join(f"  | {t}" for t in lines)

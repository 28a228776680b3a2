"""Processes of this machine, named by pid and start time: found, awaited, signalled (Linux).

Everything works for children and for strangers' children alike, because a restarted mixer is not
the parent of what it adopts. A zombie counts as dead: PID 1 of a container may never reap it.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio

STATE, STARTED = 0, 19  # fields 3 and 22 of /proc/PID/stat (proc(5)), counted after the name


@dataclass(frozen=True, slots=True)
class Seen:
    """``started`` is in clock ticks since boot; with the pid it names a process for ever."""

    pid: int
    started: int
    paused: bool


def seen(pid: int) -> Seen | None:
    """The living process of that pid; None for the dead, zombies among them."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if len(fields) <= STARTED or fields[STATE] in {b"Z", b"X"}:
        return None
    return Seen(pid, int(fields[STARTED]), fields[STATE] in {b"T", b"t"})


def is_alive(pid: int, started: int) -> bool:
    found = seen(pid)
    return found is not None and found.started == started


def environment(pid: int) -> Mapping[str, str]:
    """Its environment at exec; empty for the dead and for those we may not read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            pairs = environ.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}
    split = (pair.decode(errors="replace").partition("=") for pair in pairs if pair)
    return {name: value for name, _, value in split}


def marked(name: str, value: str) -> Iterator[tuple[Seen, Mapping[str, str]]]:
    """Living processes of our own user whose environment holds ``name=value``."""
    wanted = f"{name}={value}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or not _is_marked(entry.name, wanted):
            continue
        found = seen(int(entry.name))
        if found is not None:
            yield found, environment(found.pid)


def _is_marked(pid: str, wanted: bytes) -> bool:
    """Read first as bytes: most processes are not ours, and parsing each would cost."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return wanted in environ.read().split(b"\0")
    except OSError:  # gone meanwhile, or not ours to read
        return False


def reap(pid: int) -> bool:
    """Take a dead child off the process table; True once it is no child of ours (any more)."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


class Handle:
    """Holds one process by pidfd, so that no signal ever reaches a reused pid."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd

    @classmethod
    def open(cls, pid: int, started: int) -> "Handle | None":
        """None if that process is gone. Close it (``with``)."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        if is_alive(pid, started):  # asked after opening: now the pid cannot change hands
            return cls(pidfd)
        os.close(pidfd)
        return None

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pidfd)

    def send(self, number: signal.Signals) -> None:
        """Signal it; dead already is no error."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return

    async def gone(self) -> None:
        """Return once it is dead, though perhaps not reaped yet."""
        await anyio.wait_readable(self._pidfd)

    async def gone_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.gone()
            return True
        return False

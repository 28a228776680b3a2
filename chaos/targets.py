"""The processes of one ``up``: which there are, and that a pid is still the one that was meant.

Found by ``STATE_DIR/endpoints.json`` and by the marks in their environments; nothing else on the
machine is ever signalled.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.schedule import Fault, Kind
from cli import endpoints
from cli.leftovers import FFMPEG_MARK, MARK
from cli.render import program
from pkg.errors import ConfigError, TransientError

MIXER_ID = "ONAIR_MIXER_ID"  # a mixer daemon's own setting
ROOM = "ONAIR_ROOM"


@dataclass(frozen=True, slots=True)
class Victim:
    """What a fault hits: a name for people, and its processes, which die or sleep together."""

    name: str
    processes: tuple[psutil.Process, ...]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def signal(self, number: signal.Signals) -> None:
        """All of them at once; who is dead already is none of our business."""
        for process in self.processes:
            try:
                process.send_signal(number)  # psutil compares the start time: never a stranger
            except psutil.NoSuchProcess:
                continue


@dataclass(frozen=True, slots=True)
class Targets:
    """``prefix`` begins the ids of the rooms whose FFmpegs may be hit."""

    state_dir: Path  # resolved
    prefix: str

    def names(self) -> list[str]:
        """The parts of this ``up``. Raises ConfigError if it does not run."""
        return sorted(self._pids())

    def missing(self) -> list[str]:
        """Parts that are dead and not started again yet."""
        return [name for name, pid in sorted(self._pids().items()) if self._own(pid) is None]

    def victim(self, fault: Fault) -> Victim:
        """Raises TransientError if there is none just now."""
        found = list(self._candidates(fault.kind))
        if not found:
            raise TransientError(f"there is no {fault.kind.part} to hit just now")
        return found[int(fault.pick * len(found))]

    def of_part(self, name: str) -> Victim:
        """A part by its name in endpoints.json. Raises TransientError if it is dead."""
        process = self._own(self._pids().get(name, 0))
        if process is None:
            raise TransientError(f"{name} is not running just now")
        return Victim(name, (process,))

    def mixer_id(self, name: str) -> str:
        """The module that this mixer daemon is. Raises TransientError if it is dead."""
        return _environment(self.of_part(name).processes[0])[MIXER_ID]

    def settings(self, part: str) -> list[dict[str, str]]:
        """What the daemons of this kind were told, in their environments."""
        return [_environment(process) for _, process in self._running(part)]

    def ffmpegs(self) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
        """Living FFmpegs of this ``up``'s mixers, with their environments."""
        mixers = {told.get(MIXER_ID) for told in self.settings("mixer")} - {None}
        for process in psutil.process_iter():
            environment = _environment(process)
            if environment.get(FFMPEG_MARK) in mixers:
                yield process, environment

    def _candidates(self, kind: Kind) -> Iterator[Victim]:
        if kind.part == "ffmpeg":
            found = [(e[ROOM], p) for p, e in self.ffmpegs() if e[ROOM].startswith(self.prefix)]
            yield from (Victim(f"ffmpeg of {r}", (p,)) for r, p in sorted(found, key=_by_room))
        elif kind.part == "mixer host":
            yield from self._mixer_hosts()
        elif kind.part == "janus host":
            yield from self._janus_hosts()
        else:
            yield from (Victim(name, (p,)) for name, p in self._running(kind.part))

    def _mixer_hosts(self) -> Iterator[Victim]:
        ffmpegs = list(self.ffmpegs())
        for name, daemon in self._running("mixer"):
            own = _environment(daemon).get(MIXER_ID)
            played = [process for process, e in ffmpegs if e[FFMPEG_MARK] == own]
            yield Victim(f"{name} and its {len(played)} FFmpegs", (daemon, *played))

    def _janus_hosts(self) -> Iterator[Victim]:
        managers = dict(self._running("janus-manager"))
        for name, janus in self._running("janus"):
            manager = managers.get(name.replace("janus", "janus-manager"))
            if manager is not None:
                yield Victim(f"{name} and its manager", (janus, manager))

    def _running(self, part: str) -> list[tuple[str, psutil.Process]]:
        found = [(n, self._own(pid)) for n, pid in sorted(self._pids().items())]
        return [(n, p) for n, p in found if p is not None and program(n) == part]

    def _own(self, pid: int) -> psutil.Process | None:
        """The living process of this pid, if it is one of this ``up``'s."""
        try:
            process = psutil.Process(pid)
        except (psutil.Error, ValueError):
            return None
        return process if _environment(process).get(MARK) == str(self.state_dir) else None

    def _pids(self) -> dict[str, int]:
        pids = endpoints.read(self.state_dir / "endpoints.json").get("pids")
        if not isinstance(pids, dict):
            raise ConfigError(f"{self.state_dir}/endpoints.json names no pids; start up again")
        return pids


def _by_room(found: tuple[str, psutil.Process]) -> tuple[str, int]:
    return found[0], found[1].pid


def _environment(process: psutil.Process) -> dict[str, str]:
    """At its exec; empty for the dead and for another user's."""
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process.environ() if alive else {}
    except (psutil.Error, OSError):
        return {}


def names_of(parts: Sequence[str]) -> str:
    """
    >>> names_of(["etcd", "janus", "mixer", "mixer-2"])
    'etcd, janus, 2 x mixer'
    """
    kinds = [program(name) for name in parts]
    many = {kind: kinds.count(kind) for kind in kinds}
    return ", ".join(f"{n} x {kind}" if n > 1 else kind for kind, n in many.items())

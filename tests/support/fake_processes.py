"""FFmpeg processes in memory, as measured on FFmpeg 5.1, with cruelty on demand.

``Machine`` is the host: its processes outlive every ``FakeProcesses`` (a mixer daemon) on it.
Nothing runs in the background: what a process did by now follows from anyio's clock.
"""

import errno
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mixer.api import Mix, Running, SpawnError
from mixer.cmdline import LISTEN_SECONDS, first_number
from mixer.driver import TERM_SECONDS
from mixer.health import GAVE_UP, UNREAD_BYTES, Look
from mixer.playlist import Segment
from pkg.model import Epoch, ModuleId, RoomId

CLASH_SECONDS = 0.06  # until FFmpeg gives up on a port that is taken
START_SECONDS = 0.12  # from the first packet (or spawn, if later) to its first segment's begin
TERM_TAKES = 0.016


@dataclass
class FakeProcess:
    mixer_id: ModuleId
    running: Running
    began: float
    clash: bool = False
    paused: bool = False
    stuck: bool = False
    fed_since: float | None = None
    fed_before: float = 0.0  # seconds of sound received in earlier stretches
    starved_since: float | None = None
    dead: bool = False
    last_words: str = ""
    changed: anyio.Event = field(default_factory=anyio.Event)

    def deadline(self) -> float:
        """When it ends by itself, if nothing changes."""
        if self.paused or self.stuck:
            return float("inf")
        if self.clash:
            return self.began + CLASH_SECONDS
        if self.fed_since is not None:
            return float("inf")
        if self.starved_since is not None:
            return self.starved_since + LISTEN_SECONDS
        return self.began + 2 * LISTEN_SECONDS  # before the first packet it waits twice as long

    def sound_seconds(self, now: float) -> float:
        stretch = 0.0 if self.fed_since is None else max(0.0, now - self.fed_since - START_SECONDS)
        return self.fed_before + stretch

    def wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Machine:
    """``strangers``: ports that somebody else holds; ``noisy``: that somebody sends to.

    ``disk_full``: files stay empty; ``read_only``: nothing can be deleted.
    """

    def __init__(self, segment_seconds: float = 2.0) -> None:
        self.segment_seconds = segment_seconds
        self.strangers: set[int] = set()
        self.noisy: set[int] = set()
        self.disk_full = False
        self.read_only = False
        self.processes: dict[int, FakeProcess] = {}
        self.folders: dict[tuple[RoomId, Epoch], int] = {}  # → newest sequence listed, or -1
        self.keys: set[tuple[RoomId, Epoch]] = set()
        self._fed: set[int] = set()
        self._pids = itertools.count(1000)

    def feed(self, port: int) -> None:
        """RTP begins to arrive at a port, whoever listens there, now or later."""
        self._fed.add(port)
        for process in self.alive():
            if process.running.port == port and process.fed_since is None and not process.stuck:
                process.fed_since, process.starved_since = anyio.current_time(), None
                process.wake()

    def starve(self, port: int) -> None:
        self._fed.discard(port)
        for process in self.alive():
            if process.running.port == port and process.fed_since is not None:
                now = anyio.current_time()
                process.fed_before = process.sound_seconds(now)
                process.fed_since, process.starved_since = None, now
                process.wake()

    def alive(self) -> list[FakeProcess]:
        now = anyio.current_time()
        for process in self.processes.values():
            if not process.dead and now >= process.deadline():
                self._end(process, _farewell(process))
        return [process for process in self.processes.values() if not process.dead]

    def kill(self, running: Running) -> None:
        """SIGKILL, from anybody."""
        process = self.processes[running.pid]
        if not process.dead:
            self._end(process, "")

    def pause(self, running: Running) -> None:
        """SIGSTOP, from anybody."""
        self.processes[running.pid].paused = True

    def jam(self, running: Running) -> None:
        """It lives, and does nothing any more: RTP piles up at its port."""
        process = self.processes[running.pid]
        process.fed_before = process.sound_seconds(anyio.current_time())
        process.fed_since, process.stuck = None, True

    def is_fed(self, port: int) -> bool:
        return port in self._fed

    def is_taken(self, port: int) -> bool:
        pairs = (p.running.port for p in self.alive() if not p.clash)
        return port in self.strangers or any(port in {pair, pair + 1} for pair in pairs)

    def begin(self, mixer_id: ModuleId, mix: Mix) -> Running:
        now, where = anyio.current_time(), (mix.room_id, mix.epoch)
        after = self.folders.setdefault(where, -1)
        self.keys.add(where)
        clash = self.is_taken(mix.port) or self.is_taken(mix.port + 1)
        pid = next(self._pids)
        running = Running(mix.room_id, mix.epoch, mix.port, pid, pid * 100, after)
        process = FakeProcess(mixer_id, running, now, clash)
        if mix.port in self._fed and not clash:
            process.fed_since = now
        self.processes[pid] = process
        return running

    def newest(self, process: FakeProcess) -> int:
        """The newest sequence number its playlist lists; -1 for none."""
        running = process.running
        where = (running.room_id, running.epoch)
        if where not in self.folders:
            return -1
        whole = int(process.sound_seconds(anyio.current_time()) / self.segment_seconds + 1e-9)
        if not process.dead and whole:
            first = first_number(running.epoch) if running.after < 0 else running.after + 1
            self.folders[where] = max(self.folders[where], first + whole - 1)
        return self.folders[where]

    def seams(self, running: Running) -> int:
        """How often another began and published something, under this epoch."""
        mine = [p for p in self.processes.values() if _where(p.running) == _where(running)]
        newest = max(self.newest(process) for process in mine)
        return max(0, len({p.running.after for p in mine if p.running.after < newest}) - 1)

    def _end(self, process: FakeProcess, words: str) -> None:
        self.newest(process)
        process.dead, process.last_words = True, words
        process.wake()


def _where(running: Running) -> tuple[RoomId, Epoch]:
    return running.room_id, running.epoch


def _farewell(process: FakeProcess) -> str:
    return "bind failed: Address already in use" if process.clash else GAVE_UP


class FakeProcesses:
    """Implements ``api.Processes`` and ``api.Folders``.

    ``failures``: how many spawns fail from now on. ``spawned``: every mix that was started.
    """

    def __init__(self, mixer_id: ModuleId, machine: Machine) -> None:
        self.machine = machine
        self.failures = 0
        self.spawned: list[Mix] = []
        self.spawn_takes = 0.0
        self._mixer_id = mixer_id

    async def spawn(self, mix: Mix) -> Running:
        await anyio.sleep(self.spawn_takes)
        if self.failures > 0:
            self.failures -= 1
            raise SpawnError(f"cannot start FFmpeg for {mix.room_id}: planned by the test")
        self.spawned.append(mix)
        return self.machine.begin(self._mixer_id, mix)

    async def list_running(self) -> Sequence[Running]:
        await anyio.lowlevel.checkpoint()
        return [p.running for p in self.machine.alive() if p.mixer_id == self._mixer_id]

    async def stop(self, running: Running) -> None:
        await anyio.lowlevel.checkpoint()
        process = self._find(running)
        if process is None:
            return
        await anyio.sleep(TERM_SECONDS if process.stuck else TERM_TAKES)
        self.machine.kill(running)

    async def exited(self, running: Running) -> None:
        await anyio.lowlevel.checkpoint()
        while (process := self._find(running)) is not None:
            with anyio.move_on_at(process.deadline()):
                await process.changed.wait()

    def look(self, running: Running) -> Look:
        process = self.machine.processes[running.pid]
        alive = self._find(running) is not None
        sequence = self.machine.newest(process)
        own = sequence > running.after
        name = f"s_{running.epoch}_{sequence}.ts"
        return Look(
            alive=alive,
            paused=alive and process.paused,
            newest=Segment(sequence, name, self.machine.segment_seconds) if own else None,
            hollow=own and self.machine.disk_full,
            last_words=process.last_words,
            seams=self.machine.seams(running),
        )

    def unread(self, running: Running) -> int:
        process = self._find(running)
        deaf = process is not None and (process.stuck or process.paused)
        return 2 * UNREAD_BYTES if deaf and self.machine.is_fed(running.port) else 0

    async def is_noisy(self, port: int) -> bool:
        await anyio.sleep(0.07)
        return port in self.machine.noisy

    def bindable(self, port: int) -> bool:
        return not (self.machine.is_taken(port) or self.machine.is_taken(port + 1))

    def _find(self, running: Running) -> FakeProcess | None:
        alive = (p for p in self.machine.alive() if p.running.pid == running.pid)
        return next(alive, None)

    async def list_folders(self) -> Sequence[tuple[RoomId, Epoch]]:
        await anyio.lowlevel.checkpoint()
        return sorted(self.machine.folders)

    async def remove(self, room_id: RoomId, epoch: Epoch) -> None:
        await self.forget_key(room_id, epoch)
        self.machine.folders.pop((room_id, epoch), None)

    async def forget_key(self, room_id: RoomId, epoch: Epoch) -> None:
        await anyio.lowlevel.checkpoint()
        if self.machine.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
        self.machine.keys.discard((room_id, epoch))

    async def trim(self, room_id: RoomId, epoch: Epoch) -> None:
        await anyio.lowlevel.checkpoint()

"""What runs and what lies on disk here, as last *listed* from the OS, kept up by our own acts."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

from mixer.api import Running
from mixer.health import Pulse
from pkg.errors import TransientError
from pkg.model import Epoch, RoomId


@dataclass(slots=True)
class _Entry:
    running: Running
    since: float
    pulse: Pulse | None = None
    seams: int = 0


class Inventory:
    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], _Entry] = {}  # (pid, started) → entry
        self._ending: set[tuple[int, int]] = set()
        self._folders: dict[RoomId, set[Epoch]] = {}

    def rooms(self) -> set[RoomId]:
        return {e.running.room_id for e in self._entries.values()} | set(self._folders)

    def running(self, room_id: RoomId) -> tuple[Running, ...]:
        return tuple(e.running for e in self._entries.values() if e.running.room_id == room_id)

    def ports(self) -> set[int]:
        return {e.running.port for e in self._entries.values()}

    def folders(self, room_id: RoomId) -> frozenset[Epoch]:
        return frozenset(self._folders.get(room_id, ()))

    def entry(self, running: Running) -> _Entry | None:
        return self._entries.get((running.pid, running.started))

    def add(self, running: Running, now: float) -> bool:
        """True if it was not known yet; one that is being ended is not taken in again."""
        name = (running.pid, running.started)
        if name in self._entries or name in self._ending:
            return False
        self._entries[name] = _Entry(running, now)
        self._folders.setdefault(running.room_id, set()).add(running.epoch)
        return True

    def remove(self, running: Running) -> float | None:
        """Answers since when it was known; None if it is not (any more)."""
        entry = self._entries.pop((running.pid, running.started), None)
        return entry.since if entry else None

    @contextmanager
    def ending(self, running: Running) -> Generator[float | None]:
        """End it in the block: its exit is no failure, and a sweep meanwhile finds no stranger.

        Yields since when it was known, if it is. It is known again if the block fails.
        """
        name = (running.pid, running.started)
        entry = self._entries.pop(name, None)
        self._ending.add(name)
        try:
            yield entry.since if entry else None
        except TransientError:
            if entry is not None:
                self._entries[name] = entry
            raise
        finally:
            self._ending.discard(name)

    def removed_folder(self, room_id: RoomId, epoch: Epoch) -> None:
        epochs = self._folders.get(room_id, set())
        epochs.discard(epoch)
        if not epochs:
            self._folders.pop(room_id, None)

    def listed_folders(self, found: Iterable[tuple[RoomId, Epoch]]) -> None:
        self._folders = {}
        for room_id, epoch in found:
            self._folders.setdefault(room_id, set()).add(epoch)
        for entry in self._entries.values():
            self._folders.setdefault(entry.running.room_id, set()).add(entry.running.epoch)

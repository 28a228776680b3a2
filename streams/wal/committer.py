"""Group commit: one thread makes whatever has gathered durable, with one fdatasync a batch.

The event loop hands over commits and awaits them; while a batch is being written, the next one
fills. Any error of the disk is final (fsync may have thrown the data away, and would say nothing
the second time): nothing is written any more until the process is started again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import structlog

from pkg.errors import TransientError
from streams.wal.changes import Changes
from streams.wal.records import Appended, Record, encode
from streams.wal.segments import Segment

log = structlog.get_logger()

MAX_BATCH_BYTES = 8 * 2**20
SEGMENT_BYTES = 64 * 2**20


Told = Callable[[str | None], None]


class BrokenError(TransientError):
    """The disk failed. Whether what was asked for is stored is unknown until the next start."""


def nobody(error: str | None) -> None:
    """Told of what nobody waits for, as an expiry."""


def telling(waits: "asyncio.Future[None]") -> Told:
    """Who is told by a future, and may have gone away. It raises BrokenError."""

    def told(error: str | None) -> None:
        if waits.done():
            return
        if error is None:
            waits.set_result(None)
        else:
            waits.set_exception(BrokenError(error))

    return told


@dataclass(slots=True)
class Commit:
    """Records that become durable together; ``settle`` runs on the loop once they are.

    ``told`` runs on the loop after that, with None, or with why they are not durable.
    ``big`` are bodies that are not copied into the log: (append, body).
    """

    records: Sequence[Record]
    told: Told
    settle: Callable[[Sequence[Record]], None]
    big: Sequence[tuple[Appended, bytes]] = ()
    blob: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.blob = encode(self.records)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished segment, its last frame, and what its records come to."""

    path: Path
    last: int
    changes: Changes


class DataFiles(Protocol):
    """The streams' files, as the committer uses them; all calls block and raise OSError."""

    def write_durably(self, big: Sequence[tuple[Appended, bytes]]) -> None: ...

    def apply(self, records: Sequence[Record]) -> None: ...


class Committer:
    def __init__(self, folder: Path, files: DataFiles, next_lsn: int) -> None:
        self._folder = folder
        self._files = files
        self._next = next_lsn
        self._segment: Segment | None = None
        self._changes = Changes()  # of that segment
        self.sealed: deque[Sealed] = deque()  # not written to any more, to be folded
        self._queue: SimpleQueue[Commit | None] = SimpleQueue()  # None: the end
        self._left: list[Commit] = []  # taken from the queue, too many for one batch
        self.unsettled = 0  # commits handed over that the loop has not heard of again
        self._ended = False
        self._rotate = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self.broken: str | None = None
        self.batches = 0
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        """Raises BrokenError. The order of calls is the order of the log."""
        self.check()
        self.unsettled += 1
        self._queue.put(commit)

    def future(self) -> "asyncio.Future[None]":
        return self._loop.create_future()

    def rotate(self) -> None:
        """Let the next batch begin a new segment, so that the present one can be folded."""
        self._rotate = True

    def check(self) -> None:
        if self.broken is not None:
            raise BrokenError(f"nothing can be stored until the server is restarted: {self.broken}")

    async def barrier(self) -> None:
        """Wait until everything submitted before is durable and seen. Raises BrokenError."""
        if self.unsettled:
            passed = self.future()
            self.submit(Commit((), telling(passed), lambda _: None))
            await passed
        self.check()

    def end(self) -> None:
        """Write what waits, then stop the thread; blocks for as long as that takes."""
        self._queue.put(None)
        self._thread.join()
        if self._segment is not None:
            self._segment.close()

    def _run(self) -> None:
        while batch := self._take():
            error = self._write(batch)
            self._loop.call_soon_threadsafe(self._finish, batch, error)

    def _take(self) -> list[Commit]:
        """The next batch; empty at the end."""
        found = self._left
        if not found and not self._ended:
            found = self._arrived(1)
        found += self._arrived(self._queue.qsize())
        count = _fitting(found)
        batch, self._left = found[:count], found[count:]
        return batch

    def _arrived(self, count: int) -> list[Commit]:
        """That many from the queue; waits for them."""
        found = [self._queue.get() for _ in range(count)]
        self._ended = self._ended or None in found
        return [one for one in found if one is not None]

    def _write(self, batch: Sequence[Commit]) -> str | None:
        if self.broken is not None:
            return self.broken
        try:
            self._store(batch)
        except OSError as error:
            self.broken = str(error)
            log.error("disk.failed", error=self.broken)
        return self.broken

    def _store(self, batch: Sequence[Commit]) -> None:
        """Big bodies first: the log may only tell of what is there. Then the log, then files."""
        payload = b"".join([commit.blob for commit in batch])
        if not payload:
            return
        self._files.write_durably([one for commit in batch for one in commit.big])
        self._writable().append(self._next, payload)
        self._next += 1
        self.batches += 1
        records = [record for commit in batch for record in commit.records]
        self._changes.add(records)
        self._files.apply(records)

    def _writable(self) -> Segment:
        full = self._rotate or (self._segment and self._segment.size >= SEGMENT_BYTES)
        if self._segment is not None and full:
            self._segment.close()
            self.sealed.append(Sealed(self._segment.path, self._next - 1, self._changes))
            self._segment, self._changes = None, Changes()
        self._rotate = False
        if self._segment is None:
            self._segment = Segment.create(self._folder, self._next)
        return self._segment

    def _finish(self, batch: Sequence[Commit], error: str | None) -> None:
        self.unsettled -= len(batch)
        for commit in batch:
            if error is None:
                commit.settle(commit.records)
            commit.told(error)


def _fitting(waiting: Sequence[Commit]) -> int:
    """How many make a batch: up to a size, since all of it is written at once; at least one."""
    size = 0
    for count, commit in enumerate(waiting):
        size += len(commit.blob)
        if size > MAX_BATCH_BYTES:
            return max(1, count)
    return len(waiting)

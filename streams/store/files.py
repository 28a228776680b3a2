"""The streams' files: raw bytes, a file each, read by the loop and written by the committer.

A byte's place in its file is its position in the stream, so a fork's file begins with a hole where
its source's bytes are. Descriptors are kept open for the streams used last; each closes itself
when nobody uses it any more, whichever thread that is.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from streams.wal.records import Appended, Deleted, Record
from streams.wal.segments import sync_folder, write_whole

MAX_OPEN = 256
_NAME = re.compile(r"[0-9a-f]{16,}")
_MAX_PARTS = 512  # buffers one writev may have; Linux takes 1,024


class Handle:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[int, Handle] = OrderedDict()
        self._lock = threading.Lock()
        self._unsynced: set[int] = set()
        self._new_names = False

    def path(self, sid: int) -> Path:
        return self._folder / f"{sid:016x}"

    def read_now(self, sid: int, at: int, size: int) -> bytes | None:
        """What the page cache holds of it; None if the disk would have to be waited for.

        Raises FileNotFoundError for a stream that was removed.
        """
        try:
            buffer = bytearray(size)
            count = os.preadv(self._handle(sid).descriptor, [buffer], at, os.RWF_NOWAIT)
        except FileNotFoundError:
            raise
        except OSError:
            return None  # not in memory (EAGAIN), or a file system that cannot tell
        return bytes(buffer) if count == size else None

    def read(self, sid: int, at: int, size: int) -> bytes:
        """Blocks. Raises OSError, also if the file is shorter than the log says."""
        handle, parts = self._handle(sid), []
        while size:
            part = os.pread(handle.descriptor, size, at)
            if not part:
                raise OSError(f"{self.path(sid)} ends at {at}, {size} bytes early")
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return b"".join(parts)

    def write_durably(self, big: Sequence[tuple[Appended, bytes]]) -> None:
        """Bodies that the log will only tell of. Raises OSError."""
        for record, body in big:
            write_whole(self._handle(record.sid, make=True).descriptor, body, record.start)
        for sid in {record.sid for record, _ in big}:
            os.fdatasync(self._handle(sid).descriptor)
        if self._new_names:
            self._new_names = False
            sync_folder(self._folder)

    def apply(self, records: Sequence[Record]) -> None:
        """Bring the files up to what the log says by now. Raises OSError."""
        appends = [r for r in records if isinstance(r, Appended) and r.data]
        gone = {record.sid for record in records if isinstance(record, Deleted)}
        for sid, run in _runs(appends):
            if sid not in gone:
                self._write(sid, run)
        for sid in gone:
            self.remove(sid)

    def _write(self, sid: int, run: Sequence[Appended]) -> None:
        descriptor = self._handle(sid, make=True).descriptor
        data = run[0].data if len(run) == 1 else b"".join([one.data or b"" for one in run])
        write_whole(descriptor, data or b"", run[0].start)
        with self._lock:
            self._unsynced.add(sid)

    def remove(self, sid: int) -> None:
        with self._lock:
            self._open.pop(sid, None)
            self._unsynced.discard(sid)
        self.path(sid).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make durable what was written since the last time. Blocks; raises OSError."""
        with self._lock:
            wanted, self._unsynced = self._unsynced, set()
        for sid in wanted:
            try:
                os.fdatasync(self._handle(sid).descriptor)
            except FileNotFoundError:
                continue  # deleted meanwhile, and the log says so
        sync_folder(self._folder)

    def truncate(self, sid: int, size: int) -> None:
        os.ftruncate(self._handle(sid, make=True).descriptor, size)

    def present(self) -> Iterable[tuple[int, int]]:
        """Streams that have a file, with its size."""
        for entry in os.scandir(self._folder):
            if _NAME.fullmatch(entry.name):  # what is not ours is left alone
                yield int(entry.name, 16), entry.stat().st_size

    def _handle(self, sid: int, *, make: bool = False) -> Handle:
        with self._lock:
            found = self._open.get(sid)
            if found is None:
                found = self._open[sid] = Handle(self._descriptor(sid, make=make))
                if len(self._open) > MAX_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(sid)
            return found

    def _descriptor(self, sid: int, *, make: bool) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(self.path(sid), flags)
        except FileNotFoundError:
            if not make:
                raise
        self._new_names = True
        return os.open(self.path(sid), flags | os.O_CREAT, 0o600)


def _runs(appends: Sequence[Appended]) -> Iterator[tuple[int, list[Appended]]]:
    """Appends that can be written with one call: of one stream, each where the last one ends."""
    ordered = sorted(appends, key=lambda one: (one.sid, one.start))
    for sid, group in groupby(ordered, key=lambda one: one.sid):
        run: list[Appended] = []
        for one in group:
            if run and (one.start != run[-1].end or len(run) == _MAX_PARTS):
                yield sid, run
                run = []
            run.append(one)
        yield sid, run

"""The start: from what lies in the folder to the state that was acknowledged.

The checkpoint is loaded, the log after it applied, a torn tail taken away, and each file cut to
what is proven. Then all is folded into the checkpoint, so that every start begins a fresh log.
What was acknowledged and cannot be read is never passed over: the start fails with words.
"""

import fcntl
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from pkg.errors import ConfigError
from streams.store.files import Files
from streams.store.meta import FILE, VERSION, Meta
from streams.store.state import Seen, State
from streams.wal import segments
from streams.wal.changes import Changes
from streams.wal.committer import Sealed
from streams.wal.frames import DamagedError
from streams.wal.records import Appended, Created, DecodeError, Noted, Record, decode

log = structlog.get_logger()

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path

    @property
    def wal(self) -> Path:
        return self.root / "wal"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def make(self) -> None:
        for folder in (self.root, self.wal, self.data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.root.parent, self.root):
            segments.sync_folder(folder)


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder that is ours until ``lock`` is closed."""

    layout: Layout
    lock: IO[bytes]
    state: State
    files: Files
    meta: Meta
    next_lsn: int


def lock(layout: Layout) -> IO[bytes]:
    """One process a folder. Raises ConfigError."""
    file = (layout.root / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(f"{layout.root} is in use by another process") from None
    return file


def recover(root: Path) -> Opened:
    """Raises ConfigError, DamagedError, OSError."""
    layout = Layout(root)
    with ExitStack() as undo:
        undo.enter_context(in_words(layout))
        layout.make()
        held = undo.enter_context(lock(layout))
        meta = undo.enter_context(closing(open_meta(layout)))
        opened = _load(layout, held, meta)
        undo.pop_all()  # all is well: nothing is closed again
    log.info("store.opened", streams=len(opened.state.by_id), frames=opened.next_lsn - 1)
    return opened


@contextmanager
def in_words(layout: Layout) -> Generator[None]:
    """What SQLite or the system says, as an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise DamagedError(f"{layout.root / FILE}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{layout.root}: {error}") from None


def _load(layout: Layout, held: IO[bytes], meta: Meta) -> Opened:
    state, files = meta.load(), Files(layout.data)
    found: list[segments.Found] = []
    big: list[Appended] = []
    for segment in segments.read_all(layout.wal, meta.lsn):
        appends = replay(state, new_records(segment, meta.lsn), files)
        big += [one for one in appends if one.data is None]
        found.append(segment.outline())
    _mend(state, files, found)
    prove(state, files, big)
    next_lsn = max([meta.lsn + 1, *(one.after for one in found)])
    for segment in found:
        fold(layout, meta, files, segment.path)
    _show(state)
    return Opened(layout, held, state, files, meta, next_lsn)


def open_meta(layout: Layout) -> Meta:
    """Raises DamagedError: without it, everything would look like an orphan."""
    if not (layout.root / FILE).exists() and any(layout.data.iterdir()):
        raise DamagedError(f"{layout.root / FILE} is missing; restore it with the rest")
    meta = Meta(layout.root)
    segments.sync_folder(layout.root)
    if meta.version != VERSION:
        raise DamagedError(f"{layout.root} has format {meta.version}, this server {VERSION}")
    return meta


def new_records(segment: segments.Found, after: int) -> Iterator[Record]:
    """The records of the frames that the checkpoint has not. Raises DamagedError."""
    for frame in segment.frames:
        if frame.lsn > after:
            yield from _records(frame.lsn, frame.payload)


def _records(lsn: int, payload: bytes) -> Iterator[Record]:
    try:
        yield from decode(payload)
    except DecodeError as error:
        raise DamagedError(f"frame {lsn}: {error}") from None


def replay(state: State, records: Iterable[Record], files: Files | None) -> Iterator[Appended]:
    """Apply records, to the files, too, if there are some; yields the appends among them.

    Raises DamagedError if one does not follow from what was before it.
    """
    for record in records:
        expect_follows(state, record)
        state.apply(record)
        if files is not None:
            files.apply((record,))
        if isinstance(record, Appended):
            yield record


def expect_follows(state: State, record: Record) -> None:
    """Raises DamagedError."""
    if isinstance(record, Noted):
        return
    known = record.sid in state.by_id
    if isinstance(record, Created) == known:
        raise DamagedError(f"the log speaks of stream {record.sid} out of turn")
    if isinstance(record, Appended) and record.start != state.by_id[record.sid].tail:
        raise DamagedError(f"stream {record.sid} has no append at {record.start} to follow")


def _mend(state: State, files: Files, found: Sequence[segments.Found]) -> None:
    """Take away what no acknowledged request wrote: bytes past a tail, orphans.

    A torn frame goes with its segment, once that is folded.
    """
    for segment in found:
        if segment.torn:
            frames = segment.after - segment.first
            log.warning("log.torn", segment=segment.path.name, frames=frames)
    for sid, size in list(files.present()):
        stream = state.by_id.get(sid)
        if stream is None or stream.tail == stream.made.base:
            log.info("file.orphaned", stream=sid, bytes=size)
            files.remove(sid)
        elif size > stream.tail:
            log.warning("file.cut", stream=sid, bytes=size - stream.tail)
            files.truncate(sid, stream.tail)


def prove(state: State, files: Files, big: Iterable[Appended]) -> None:
    """Every stream's bytes are there, and big bodies are what was sent. Raises DamagedError."""
    sizes = dict(files.present())
    for stream in state.by_id.values():
        if stream.tail > stream.made.base and sizes.get(stream.sid, 0) < stream.tail:
            raise DamagedError(f"{files.path(stream.sid)} is shorter than {stream.tail} bytes")
    for record in big:
        if record.sid in state.by_id and checksum(files, record) != record.crc:
            raise DamagedError(f"{files.path(record.sid)}: damage after byte {record.start}")


def checksum(files: Files, record: Appended) -> int:
    crc = 0
    for at in range(record.start, record.end, _CHUNK):
        crc = zlib.crc32(files.read(record.sid, at, min(_CHUNK, record.end - at)), crc)
    return crc


def fold(layout: Layout, meta: Meta, files: Files, path: Path) -> None:
    """Fold a segment that was found at start."""
    if not path.exists():
        return
    segment = segments.read(path)
    changes = Changes()
    changes.add(new_records(segment, meta.lsn))
    checkpoint(layout, meta, files, Sealed(path, segment.after - 1, changes))


def checkpoint(layout: Layout, meta: Meta, files: Files, sealed: Sealed) -> None:
    """The files first, then the facts about them, and only then the log may go. Blocks."""
    files.sync()
    meta.fold(max(meta.lsn, sealed.last), sealed.changes)
    sealed.path.unlink()
    segments.sync_folder(layout.wal)


def _show(state: State) -> None:
    """At start, all that is written is durable."""
    state.visible = dict(state.names)
    for stream in state.by_id.values():
        stream.durable = Seen(stream.tail, stream.closed, stream.hidden)

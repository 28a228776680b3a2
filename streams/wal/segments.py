"""The log's files: numbered segments in one folder, each made durable before it is used.

A segment is named by the number of its first frame. Only the last one is written to; the others
wait for a checkpoint, which removes them. Every function here blocks: the committer's thread and
the start call them.
"""

import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from streams.wal.frames import DamagedError, Frame, frame, scan

SUFFIX = ".wal"
AHEAD_BYTES = 2**20
_HEAD = struct.Struct("<8sQII")  # magic, first frame, salt, crc32 of the rest
_MAGIC = b"oWALseg1"


def sync_folder(folder: Path) -> None:
    """A name is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, data: bytes | memoryview, at: int) -> None:
    """A write may be short; what is left is written again."""
    left = memoryview(data)
    while left:
        count = os.pwrite(descriptor, left, at)
        left, at = left[count:], at + count


class Segment:
    """The segment that is being written."""

    def __init__(self, path: Path, descriptor: int, salt: int, size: int) -> None:
        self._descriptor = descriptor
        self._salt = salt
        self.path = path
        self.size = size  # without the zeros ahead
        self._length = size

    @classmethod
    def create(cls, folder: Path, first: int) -> "Segment":
        """Raises OSError; FileExistsError if it is there: the log would be written twice."""
        path = folder / f"{first:016x}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        salt = secrets.randbits(32)
        write_whole(descriptor, _header(first, salt), 0)
        os.fsync(descriptor)
        sync_folder(folder)
        return cls(path, descriptor, salt, _HEAD.size)

    def append(self, lsn: int, payload: bytes) -> None:
        """Durable when it returns. Raises OSError, after which the log must not be written to."""
        data = frame(lsn, payload, self._salt)
        self._reach(self.size + len(data))
        write_whole(self._descriptor, data, self.size)
        os.fdatasync(self._descriptor)
        self.size += len(data)

    def _reach(self, end: int) -> None:
        """Let the file be longer than what is written to it, by zeros, which are no frame.

        As long as its length stays, fdatasync has no journal to write: it takes half as long.
        """
        if end <= self._length:
            return
        self._length = end + AHEAD_BYTES
        with suppress(OSError):  # the file system cannot, or is full: the write itself will tell
            os.posix_fallocate(self._descriptor, 0, self._length)

    def close(self) -> None:
        """Cut the zeros off, if that can be: they are no harm."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.size)
        os.close(self._descriptor)


def _header(first: int, salt: int) -> bytes:
    plain = _HEAD.pack(_MAGIC, first, salt, 0)[:-4]
    return plain + zlib.crc32(plain).to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class Found:
    """A segment as it lies on disk: frames ``first`` to ``after - 1``, ``end`` bytes in all."""

    path: Path
    first: int
    after: int
    end: int
    torn: bool
    frames: Sequence[Frame] = ()

    def outline(self) -> "Found":
        """Without the frames, which are large."""
        return replace(self, frames=())


def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def read(path: Path) -> Found:
    """One segment and what holds of it. Raises OSError, DamagedError."""
    data = path.read_bytes()
    first = named(path)
    if len(data) < _HEAD.size or data[: _HEAD.size].count(0) == _HEAD.size:
        return Found(path, first, first, 0, bool(data))  # its creation was cut short
    salt = int.from_bytes(data[16:20], "little")
    if data[: _HEAD.size] != _header(first, salt):
        raise DamagedError(f"{path}: the first {_HEAD.size} bytes are damaged")
    try:
        found = scan(data[_HEAD.size :], first, salt)
    except DamagedError as error:
        raise DamagedError(f"{path}: {error}") from None
    end = found.end + _HEAD.size
    return Found(path, first, first + len(found.frames), end, found.torn, found.frames)


def named(path: Path) -> int:
    """The number of its first frame. Raises DamagedError."""
    try:
        return int(path.stem, 16)
    except ValueError:
        raise DamagedError(f"{path}: no name of a segment; what is it?") from None


def read_all(folder: Path, after: int) -> Iterator[Found]:
    """Segments in order, without gaps, from the one that holds frame ``after + 1`` on.

    Only the last may end early: a frame missing before another segment was acknowledged once.
    """
    expected: int | None = None
    for path in paths(folder):
        found = read(path)
        if expected is None and found.first > after + 1:
            raise DamagedError(f"{path}: frames {after + 1} to {found.first - 1} are missing")
        if expected is not None and found.first != expected:
            raise DamagedError(f"{path}: begins at {found.first}; frame {expected} is missing")
        expected = found.after
        yield found

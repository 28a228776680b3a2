"""Segments on disk, beside the daemon: what was told and not sent outlives the process.

A file a segment, ``BORN.PRODUCER.spool``: a line that names the producer, then its lines. Files
are only added to, at their end, and deleted. Each is locked by the process that has it open, so
that a second one of the same name does not send what the first is sending. Blocking: called in
a thread, one call at a time.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from pkg.errors import ConfigError
from pkg.events.backlog import Segment
from pkg.model import RoomId

log = structlog.get_logger()

MAX_NUMBER = 2**53 - 1


@dataclass(slots=True)
class _File:
    """``end``: of the last whole line."""

    path: Path
    descriptor: int
    end: int


class Spool:
    """Raises ConfigError if the folder cannot be made or written to."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"ONAIR_EVENTS_DIR: {folder}: {error.strerror}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"ONAIR_EVENTS_DIR: {folder} cannot be written to")
        self._folder = folder
        self._files: dict[str, _File] = {}

    def load(self) -> list[Segment]:
        """What earlier processes left. Files that cannot be read stay, and are said."""
        found = []
        for unborn in self._folder.glob(".*.new"):
            unborn.unlink(missing_ok=True)
        for path in sorted(self._folder.glob("*.spool")):
            try:
                segment = self._adopt(path)
            except OSError as error:
                log.warning("spool.unreadable", path=str(path), error=error.strerror)
                continue
            if segment is not None:
                found.append(segment)
        return found

    def write(self, segment: Segment, lines: list[bytes]) -> None:
        """Add lines at the end; raises OSError, after which the same may be tried again."""
        file = self._files.get(segment.producer) or self._begin(segment)
        file.end = _put(file.descriptor, b"".join(line + b"\n" for line in lines), file.end)

    def sync(self) -> None:
        """Have it outlive the machine. Raises OSError."""
        for file in self._files.values():
            os.fdatasync(file.descriptor)

    def remove(self, segment: Segment) -> None:
        """Raises OSError."""
        file = self._files.get(segment.producer)
        if file is not None:
            file.path.unlink(missing_ok=True)
            os.close(self._files.pop(segment.producer).descriptor)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()

    def _begin(self, segment: Segment) -> _File:
        """Locked before it has its name: nobody takes it for left over."""
        name = f"{segment.born:016d}.{segment.producer.replace('/', '~')}.spool"
        path, aside = self._folder / name, self._folder / f".{name}.new"
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = json.dumps({"producer": segment.producer, "born": segment.born}).encode()
            end = _put(descriptor, head + b"\n", 0)
            aside.rename(path)
        except OSError:
            os.close(descriptor)
            aside.unlink(missing_ok=True)
            raise
        self._files[segment.producer] = _File(path, descriptor, end)
        return self._files[segment.producer]

    def _adopt(self, path: Path) -> Segment | None:
        """None if somebody else has it, or there is nothing in it (any more)."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        content = path.read_bytes() if os.fstat(descriptor).st_nlink else b""
        segment, end = parse(content)
        if segment is None or not segment.events:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            return None
        if end < len(content):
            log.warning("spool.torn", path=str(path), bytes=len(content) - end)
        self._files[segment.producer] = _File(path, descriptor, end)
        return segment


def _put(descriptor: int, data: bytes, offset: int) -> int:
    """Answers where it ends. A part that did get written is written over the next time."""
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count
    return offset


def parse(content: bytes) -> tuple[Segment | None, int]:
    """A file's segment, and where its last whole line ends. What follows a line that cannot be
    read counts as not written: events are numbered by their place.

    >>> event = b'{"type":"room.created","roomId":"blue"}'
    >>> segment, end = parse(b'{"producer":"mixer/m1/01","born":7}\\n' + event + b'\\n{"ty')
    >>> segment.producer, segment.events, segment.written, end
    ('mixer/m1/01', {'blue': [b'{"type":"room.created","roomId":"blue"}']}, 1, 76)
    >>> parse(b"")
    (None, 0)
    """
    head, *lines = content.split(b"\n")[:-1] or [b""]
    try:
        named = json.loads(head)
        segment, end = Segment(int(named["born"]), str(named["producer"])), len(head) + 1
    except (ValueError, KeyError, TypeError):
        return None, 0
    for line in lines:
        try:
            _take(segment, line)
        except (ValueError, KeyError, TypeError):
            break
        end += len(line) + 1
    segment.written = len(segment.lines)
    return segment, end


def _take(segment: Segment, line: bytes) -> None:
    record = json.loads(line)
    room_id = RoomId(str(record["roomId"]))
    if "type" in record:
        segment.add(room_id, line)
        return
    epoch, base = int(record["epoch"]), int(record["base"])
    if not (0 <= epoch <= MAX_NUMBER and 0 <= base <= len(segment.events.get(room_id, ()))):
        raise ValueError("no such epoch")
    segment.raise_epoch(room_id, epoch, base)
    segment.left -= base - segment.sent.get(room_id, 0)
    segment.sent[room_id] = base  # it was raised when all before had been sent

"""A part's log file: followed by ``up``, and kept below a bound.

Parts write to files and not to pipes, because they outlive an ``up`` that is killed, and a pipe
without a reader kills its writer (SIGPIPE).
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 8 * 1024 * 1024  # then it becomes the .1 file: twice this a part, at most
READ_BYTES = 256 * 1024
LONGEST_LINE = 64 * 1024


def open_for_part(path: Path) -> BinaryIO:
    """For appending only: a writer with O_APPEND goes on at 0 after a truncation."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", 0)


class LogFile:
    """``new_lines`` answers what was written since the last call."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._offset = 0
        self._rest = b""
        if path.exists():  # of the ``up`` before
            path.rename(_older(path))

    def new_lines(self) -> Iterator[str]:
        while chunk := self._read():
            *lines, rest = (self._rest + chunk).split(b"\n")
            self._rest = rest[-LONGEST_LINE:]
            yield from (line.decode(errors="replace") for line in lines)
        if self._offset > self._most_bytes:
            self._roll()

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read(READ_BYTES)
        except FileNotFoundError:
            return b""
        self._offset += len(chunk)
        return chunk

    def _roll(self) -> None:
        """Copy, then truncate: the writer keeps its handle. A line written between is lost."""
        shutil.copyfile(self.path, _older(self.path))
        os.truncate(self.path, 0)
        self._offset = 0


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The end of a log, for the terminal when its writer keeps dying."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LONGEST_LINE))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []

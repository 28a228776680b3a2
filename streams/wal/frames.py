r"""Frames: one commit each, whole or not there at all.

A frame is written with one call and made durable before the next one begins, so only the last of
a log can be torn; nothing in it was acknowledged. That is what ``scan`` proves: after the first
frame that does not hold, no whole frame of a later number may follow. If one does, the log was
damaged in the middle, and cutting there would lose what was acknowledged.

Each file has a salt that goes into every sum, so that no client can send what passes for a frame.

>>> log = frame(1, b"one", 7) + frame(2, b"two", 7)
>>> [f.payload for f in scan(log, 1, 7).frames], scan(log, 1, 7).end == len(log)
([b'one', b'two'], True)
>>> torn = scan(log[:-1] + bytes(100), 1, 7)
>>> len(torn.frames), torn.torn, scan(bytes(50), 1, 7).torn
(1, True, False)
>>> scan(b"x" + log[1:], 1, 7)
Traceback (most recent call last):
  ...
streams.wal.frames.DamagedError: frame 1 does not hold, but frame 2 after it does
"""

import struct
import zlib
from dataclasses import dataclass

from pkg.errors import OnairError

MAGIC = b"oWAL"
_HEAD = struct.Struct("<4sIQI")  # magic, payload's size, number, crc32 of the rest
_SUMMED = struct.Struct("<IQ")


class DamagedError(OnairError):
    """What was acknowledged cannot be read any more; the text says where. Nothing is repaired."""


@dataclass(frozen=True, slots=True)
class Frame:
    lsn: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """``end`` is where the next frame goes; ``torn``: something else than zeros stands there."""

    frames: list[Frame]
    end: int
    torn: bool


def frame(lsn: int, payload: bytes, salt: int) -> bytes:
    return _HEAD.pack(MAGIC, len(payload), lsn, _sum(lsn, payload, salt)) + payload


def _sum(lsn: int, payload: bytes, salt: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_SUMMED.pack(len(payload), lsn), salt))


def scan(log: bytes, first: int, salt: int) -> Scan:
    """Read frames ``first``, ``first + 1``, … Raises DamagedError."""
    found: list[Frame] = []
    at = 0
    while (one := _frame_at(log, at, salt)) is not None and one.lsn == first + len(found):
        found.append(one)
        at += _HEAD.size + len(one.payload)
    _refuse_later_frames(log, at, first + len(found), salt)
    return Scan(found, at, log.count(0, at) != len(log) - at)


def _refuse_later_frames(log: bytes, at: int, expected: int, salt: int) -> None:
    while (at := log.find(MAGIC, at)) >= 0:
        one = _frame_at(log, at, salt)
        if one is not None and one.lsn >= expected:
            raise DamagedError(f"frame {expected} does not hold, but frame {one.lsn} after it does")
        at += 1


def _frame_at(log: bytes, at: int, salt: int) -> Frame | None:
    if len(log) - at < _HEAD.size:
        return None
    magic, size, lsn, crc = _HEAD.unpack_from(log, at)
    payload = log[at + _HEAD.size : at + _HEAD.size + size]
    whole = magic == MAGIC and len(payload) == size and crc == _sum(lsn, payload, salt)
    return Frame(lsn, payload) if whole else None

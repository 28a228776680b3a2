"""What the log says: four kinds of facts about streams, notes beside them, and their bytes.

Streams are named by number, never by path: a path may be deleted and taken again. Applying the
records in order to an empty state gives the present one (``streams.store.state``); the same
records mend the data files after a crash.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

from pkg.errors import OnairError
from streams.protocol.producers import Claim


class DecodeError(OnairError):
    """The bytes are no records of this version."""


class Kind(IntEnum):
    CREATED = 1
    APPENDED = 2
    HIDDEN = 3
    DELETED = 4
    NOTED = 5


@dataclass(frozen=True, slots=True)
class Created:
    """A stream, or a fork: then ``base`` is where it leaves ``parent``.

    ``forked_at`` and ``forked_sub`` are kept as they were asked for, to know the request again.
    """

    sid: int
    name: str
    content_type: str
    ttl: int | None = None
    expires_at: str | None = None
    parent: int | None = None
    base: int = 0
    source: str | None = None
    forked_at: int | None = None
    forked_sub: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """``length`` bytes at ``start``, and all that changes with them, in one piece.

    ``length`` 0 only closes. ``data`` is None if the bytes went into the stream's file directly:
    they were made durable there before this record was written, and ``crc`` proves them.
    """

    sid: int
    start: int
    length: int
    crc: int = 0
    closes: bool = False
    claim: Claim | None = None
    seq: str | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Hidden:
    """Deleted or expired while forks need it (§4.2: soft-deleted)."""

    sid: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Gone with its file."""

    sid: int


@dataclass(frozen=True, slots=True)
class Noted:
    """What is kept beside the streams (``streams.subscriptions``); without ``value``: no more."""

    key: str
    value: str | None
    sid: int = 0  # of no stream


Record: TypeAlias = Created | Appended | Hidden | Deleted | Noted

_HEAD = struct.Struct("<BIQ")  # kind, bytes that follow, stream
_APPEND = struct.Struct("<QQIBHHQQ")  # start, length, crc, flags, id's and seq's size, epoch, seq
_CLOSES, _CLAIM, _SEQ, _INLINE = 1, 2, 4, 8


def encode(records: Sequence[Record]) -> bytes:
    return b"".join([_one(record) for record in records])


def _one(record: Record) -> bytes:
    match record:
        case Appended():
            kind, body = Kind.APPENDED, _appended(record)
        case Created():
            kind, body = Kind.CREATED, json.dumps(asdict(record)).encode()
        case Hidden():
            kind, body = Kind.HIDDEN, b""
        case Deleted():
            kind, body = Kind.DELETED, b""
        case Noted():
            kind, body = Kind.NOTED, json.dumps([record.key, record.value]).encode()
    return _HEAD.pack(kind, len(body), record.sid) + body


def _appended(record: Appended) -> bytes:
    claim = record.claim
    producer = claim.producer_id.encode() if claim else b""
    seq = record.seq.encode() if record.seq is not None else b""
    flags = _CLOSES * record.closes | _CLAIM * (claim is not None)
    flags |= _SEQ * (record.seq is not None) | _INLINE * (record.data is not None)
    numbers = (claim.epoch, claim.seq) if claim else (0, 0)
    head = _APPEND.pack(
        record.start, record.length, record.crc, flags, len(producer), len(seq), *numbers
    )
    return b"".join((head, producer, seq, record.data or b""))


def decode(data: bytes) -> Iterator[Record]:
    """Raises DecodeError."""
    at = 0
    try:
        while at < len(data):
            kind, size, sid = _HEAD.unpack_from(data, at)
            at += _HEAD.size + size
            if at > len(data):
                raise DecodeError("a record is cut off")
            yield _read(Kind(kind), sid, data[at - size : at])
    except (struct.error, ValueError, TypeError) as error:
        raise DecodeError(f"not a record of this version: {error}") from None


def _read(kind: Kind, sid: int, body: bytes) -> Record:
    match kind:
        case Kind.APPENDED:
            return _read_appended(sid, body)
        case Kind.CREATED:
            fields: dict[str, Any] = json.loads(body)
            return Created(**fields)
        case Kind.HIDDEN:
            return Hidden(sid)
        case Kind.DELETED:
            return Deleted(sid)
        case Kind.NOTED:
            key, value = json.loads(body)
            return Noted(key, value)


def _read_appended(sid: int, body: bytes) -> Appended:
    start, length, crc, flags, id_size, seq_size, epoch, number = _APPEND.unpack_from(body)
    seq_at = _APPEND.size + id_size
    data_at = seq_at + seq_size
    claim = Claim(body[_APPEND.size : seq_at].decode(), epoch, number) if flags & _CLAIM else None
    data = body[data_at:] if flags & _INLINE else None
    if data is not None and len(data) != length:
        raise DecodeError("an append has not the length it tells")
    return Appended(
        sid,
        start,
        length,
        crc,
        closes=bool(flags & _CLOSES),
        claim=claim,
        seq=body[seq_at:data_at].decode() if flags & _SEQ else None,
        data=data,
    )

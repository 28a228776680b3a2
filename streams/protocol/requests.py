"""What a request asks for, read from its headers and query; nothing is looked up yet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs

from streams.protocol import lifetime, media, offsets, paths
from streams.protocol.lifetime import Lifetime
from streams.protocol.producers import MAX_NUMBER, Claim
from streams.protocol.refusal import Refusal

Headers = Mapping[str, str]  # lower-case names
MAX_FIELD = 1024  # of what is kept for ever: producer ids, Stream-Seq
_PRODUCER = ("producer-id", "producer-epoch", "producer-seq")
_NUMBER = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """§4.2. ``source`` is a stream's name; ``offset`` None means its tail."""

    source: str
    offset: int | None
    sub_offset: int


@dataclass(frozen=True, slots=True)
class Create:
    """``ready``: the body as a JSON stream keeps it, or why not, if that was found out before."""

    name: str
    content_type: str | None
    lifetime: Lifetime | None
    closed: bool
    fork: ForkPoint | None
    body: bytes = field(repr=False)
    ready: bytes | Refusal | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Append:
    """``ready`` as in ``Create``."""

    name: str
    content_type: str | None
    closes: bool
    claim: Claim | None
    seq: str | None
    body: bytes = field(repr=False)
    ready: bytes | Refusal | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """``offset`` None means the tail as it is now."""

    name: str
    offset: int | None
    live: Literal["long-poll", "sse"] | None
    cursor: str | None
    known_tags: frozenset[str]


def create(name: str, headers: Headers, body: bytes) -> Create:
    """Raises Refusal."""
    return Create(
        name,
        media.clean(headers.get("content-type")),
        lifetime.parse(headers.get("stream-ttl"), headers.get("stream-expires-at")),
        _is_true(headers.get("stream-closed")),
        _fork_point(headers),
        body,
    )


def append(name: str, headers: Headers, body: bytes) -> Append:
    """Raises Refusal. An empty body is only good for closing (§5.2)."""
    claim = _claim(headers)
    closes = _is_true(headers.get("stream-closed"))
    if not body and not closes:
        raise Refusal(400, "the body is empty")
    if body and not headers.get("content-type"):
        raise Refusal(400, "Content-Type is missing")
    seq = headers.get("stream-seq")
    if seq is not None and len(seq) > MAX_FIELD:
        raise Refusal(400, f"Stream-Seq has {MAX_FIELD} characters at most")
    return Append(name, headers.get("content-type"), closes, claim, seq, body)


def _is_true(value: str | None) -> bool:
    return value is not None and value.strip().lower() == "true"


def _fork_point(headers: Headers) -> ForkPoint | None:
    source, offset = headers.get("stream-forked-from"), headers.get("stream-fork-offset")
    sub_offset = headers.get("stream-fork-sub-offset")
    if source is None:
        if offset is not None or sub_offset is not None:
            raise Refusal(400, "a fork offset needs Stream-Forked-From")
        return None
    if sub_offset is not None and not _NUMBER.fullmatch(sub_offset):
        raise Refusal(400, "Stream-Fork-Sub-Offset is a whole number")
    sub = int(sub_offset or 0)
    if sub and offset is None:
        raise Refusal(400, "Stream-Fork-Sub-Offset needs Stream-Fork-Offset")
    return ForkPoint(paths.stream(source), _fork_offset(offset), sub)


def _fork_offset(text: str | None) -> int | None:
    if text is None:
        return None
    return 0 if text == offsets.START else offsets.exact(text)


def _claim(headers: Headers) -> Claim | None:
    """All three headers or none (§5.2.1)."""
    given = [headers[name] for name in _PRODUCER if name in headers]
    if not given:
        return None
    if len(given) < len(_PRODUCER):
        raise Refusal(400, "Producer-Id, Producer-Epoch and Producer-Seq belong together")
    producer_id, epoch, seq = given
    if not 0 < len(producer_id) <= MAX_FIELD:
        raise Refusal(400, f"Producer-Id has 1 to {MAX_FIELD} characters")
    return Claim(producer_id, _number("Producer-Epoch", epoch), _number("Producer-Seq", seq))


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_NUMBER:
        raise Refusal(400, f"{name} is a whole number up to {MAX_NUMBER}")
    return int(text)


def read(name: str, query: bytes, headers: Headers) -> Read:
    """Raises Refusal. Unknown parameters are passed over (§11.1)."""
    given = _query(query)
    live = _live(given.get("live", [None])[-1])
    offset = given.get("offset")
    if offset is None and live is not None:
        raise Refusal(400, "a live read needs an offset")
    if offset is not None and len(offset) > 1:
        raise Refusal(400, "offset is given twice")
    where = offsets.position(offset[0]) if offset is not None else 0
    cursor = given.get("cursor", [None])[-1]
    return Read(name, where, live, cursor, _tags(headers.get("if-none-match", "")))


def _query(query: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise Refusal(400, "too many parameters") from None


def _live(mode: str | None) -> Literal["long-poll", "sse"] | None:
    match mode:
        case None | "long-poll" | "sse":
            return mode
        case _:
            raise Refusal(400, "live is long-poll or sse")


def _tags(value: str) -> frozenset[str]:
    """If-None-Match compares weakly (RFC 9110 §13.1.2).

    >>> sorted(_tags('"a:1", W/"b"'))
    ['"a:1"', '"b"']
    """
    parts = (part.strip() for part in value.split(","))
    return frozenset(part.removeprefix("W/") for part in parts if part)

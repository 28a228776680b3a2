"""What a create, append or delete does, decided from the state as written: pure.

Each function answers the records to log and what to tell the caller; the caller applies them in
the same step, before anything else runs. Refusals are raised, in the protocol's order (§5.2).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streams.protocol import jsonmode, media
from streams.protocol.lifetime import Lifetime
from streams.protocol.offsets import token
from streams.protocol.producers import Claim, Place, Verdict, judge
from streams.protocol.refusal import Refusal, gone, not_found
from streams.protocol.requests import Append, Create, ForkPoint
from streams.store.state import State, Stream
from streams.wal.records import Appended, Created, Deleted, Hidden, Record

BIG_BODY = 64 * 1024  # above it a body is not copied into the log


@dataclass(frozen=True, slots=True)
class Decision:
    """Records to log, none if all is as asked for already. ``big``: a body for its own file.

    ``stream`` is None if the first record makes it.
    """

    records: Sequence[Record]
    stream: Stream | None = None
    place: Place | None = None
    big: Sequence[tuple[Appended, bytes]] = ()

    @property
    def new(self) -> bool:
        return bool(self.records)


def create(state: State, request: Create, fork_base: int | None) -> Decision:
    """``fork_base``: where the fork leaves its source. What is expired was removed before."""
    present = state.names.get(request.name)
    if present is not None:
        _expect_same(present, request)
        return Decision((), present)
    made = _made(state, request, fork_base)
    body = stored(made.content_type, request, empty_array=True)
    if not body and not request.closed:
        return Decision((made,))
    appended = _append(made.sid, made.base, body, request.closed)
    return Decision((made, appended), big=_big(appended, body))


def _expect_same(present: Stream, request: Create) -> None:
    """§5.1: a repeated creation must ask for the same. Raises Refusal 409.

    What a fork request leaves out was inherited, and is not compared.
    """
    if present.hidden:
        raise Refusal(409, "the stream was deleted, and forks still need it")
    made, fork = present.made, request.fork
    if _asked(fork) != _asked(_fork_of(made, like=fork)):
        raise Refusal(409, "the stream exists, forked otherwise")
    wanted = request.content_type or (None if fork else media.DEFAULT)
    if wanted and media.essence(wanted) != media.essence(made.content_type):
        raise Refusal(409, "the stream exists with another content type")
    lifetime = request.lifetime or (None if fork else Lifetime())
    if lifetime and not lifetime.same(present.lifetime):
        raise Refusal(409, "the stream exists with another lifetime")
    if request.closed != present.closed:
        headers = {"Stream-Closed": "true"} if present.closed else {}
        raise Refusal(409, "the stream is closed, or is not, otherwise than asked", headers)


def _asked(fork: ForkPoint | None) -> tuple[str | None, int | None, int]:
    return (fork.source, fork.offset, fork.sub_offset) if fork else (None, None, 0)


def _fork_of(made: Created, like: ForkPoint | None) -> ForkPoint | None:
    """How it was forked. An offset that is not asked for now is not compared: it was the tail."""
    if made.source is None:
        return None
    offset = made.forked_at if like is not None and like.offset is not None else None
    return ForkPoint(made.source, offset, made.forked_sub)


def source_of(state: State, request: Create) -> Stream | None:
    """The stream to be forked. Raises Refusal; the caller has looked whether it is expired."""
    if request.fork is None:
        return None
    source = state.names.get(request.fork.source)
    if source is None:
        raise Refusal(404, "the stream to fork does not exist")
    if source.hidden:
        raise Refusal(409, "the stream to fork was deleted")
    wanted = request.content_type
    if wanted and media.essence(wanted) != media.essence(source.made.content_type):
        raise Refusal(409, "a fork has its source's content type")
    return source


def _made(state: State, request: Create, fork_base: int | None) -> Created:
    source, fork = source_of(state, request), request.fork
    inherited = source.lifetime if source else Lifetime()
    lifetime = request.lifetime or inherited
    plain = Created(
        state.next_sid,
        request.name,
        request.content_type or (source.made.content_type if source else media.DEFAULT),
        lifetime.ttl,
        lifetime.expires_at,
    )
    if source is None or fork is None or fork_base is None:
        return plain
    at = fork.offset if fork.offset is not None else fork_base
    return replace(
        plain,
        parent=source.sid,
        base=fork_base,
        source=fork.source,
        forked_at=at,
        forked_sub=fork.sub_offset,
    )


def stored(content_type: str, request: Create | Append, *, empty_array: bool) -> bytes:
    """A body as it is kept. Raises Refusal 400, 413 if it is not what the stream holds."""
    if not request.body or not media.is_json(content_type):
        return request.body
    found = request.ready if request.ready is not None else ready(request.body)
    if isinstance(found, Refusal):
        raise found
    if not found and not empty_array:
        raise Refusal(400, "an empty array appends nothing")
    return found


def ready(body: bytes) -> bytes | Refusal:
    """What a JSON stream keeps of a body; takes about a microsecond a message."""
    try:
        return jsonmode.stored(jsonmode.messages(body))
    except Refusal as refusal:
        return refusal


def append(stream: Stream, request: Append) -> Decision:
    """Closed before content type before producer before Stream-Seq before JSON (§5.2)."""
    if stream.closed:
        return _on_closed(stream, request)
    if request.body:
        _expect_type(stream, request)
    if request.claim and _known(stream, request.claim):
        return _duplicate(stream, request.claim)
    _expect_seq(stream, request)
    body = stored(stream.made.content_type, request, empty_array=False)
    record = _append(stream.sid, stream.tail, body, request.closes, request.claim, request.seq)
    place = Place(request.claim.epoch, request.claim.seq) if request.claim else None
    return Decision((record,), stream, place, _big(record, body))


def _append(
    sid: int,
    start: int,
    body: bytes,
    closes: bool,  # noqa: FBT001 - in the record's own order
    claim: Claim | None = None,
    seq: str | None = None,
) -> Appended:
    size = len(body)
    if size <= BIG_BODY:
        return Appended(sid, start, size, 0, closes, claim, seq, body)
    return Appended(sid, start, size, zlib.crc32(body), closes, claim, seq)


def _big(record: Appended, body: bytes) -> Sequence[tuple[Appended, bytes]]:
    """What is to be stored beside the log."""
    return ((record, body),) if record.data is None else ()


def _on_closed(stream: Stream, request: Append) -> Decision:
    """§5.2.1: only the closing request itself, or a bare close, may be repeated."""
    same = request.claim is not None and request.claim == stream.closed_by
    if same or (request.closes and not request.body and request.claim is None):
        place = stream.places.get(request.claim.producer_id) if request.claim else None
        return Decision((), stream, place)
    headers = {"Stream-Closed": "true", "Stream-Next-Offset": token(stream.tail)}
    raise Refusal(409, "the stream is closed", headers)


def _expect_type(stream: Stream, request: Append) -> None:
    if media.essence(request.content_type or "") != media.essence(stream.made.content_type):
        raise Refusal(409, f"the stream holds {stream.made.content_type}")


def _known(stream: Stream, claim: Claim) -> bool:
    return judge(stream.places.get(claim.producer_id), claim) is Verdict.DUPLICATE


def _duplicate(stream: Stream, claim: Claim) -> Decision:
    return Decision((), stream, stream.places[claim.producer_id])


def _expect_seq(stream: Stream, request: Append) -> None:
    """Per stream; compared as bytes (§5.2)."""
    if request.seq is None or stream.seq is None:
        return
    if request.seq.encode() <= stream.seq.encode():
        raise Refusal(409, "Stream-Seq must rise")


def find(state: State, name: str) -> Stream:
    """Raises Refusal 404, 410."""
    stream = state.names.get(name)
    if stream is None:
        raise not_found()
    if stream.hidden:
        raise gone()
    return stream


def delete(stream: Stream) -> Sequence[Record]:
    """Hide it if forks need it; else it goes, and with it hidden ancestors nobody needs now."""
    if stream.forks:
        return [] if stream.hidden else [Hidden(stream.sid)]
    found: list[Record] = [Deleted(stream.sid)]
    above = stream.parent
    while above is not None and above.hidden and above.forks == 1:
        found.append(Deleted(above.sid))
        above = above.parent
    return found

"""GET without waiting: a stream's bytes from an offset on, sent in pieces (§5.6)."""

from dataclasses import dataclass

import anyio.lowlevel

from pkg.httpserver import Send
from streams.app.answer import Answer, begin, deliver, put
from streams.protocol import jsonmode, media
from streams.protocol.offsets import token
from streams.protocol.refusal import Refusal, not_found
from streams.protocol.requests import Read
from streams.store import reading
from streams.store.state import Seen, Stream
from streams.store.store import Store

MAX_ANSWER = 16 * 2**20
_SETTLED = "private, max-age=60, stale-while-revalidate=300"  # §10.1; it will never change
_GROWING = "private, no-cache"  # a copy must be asked about: there may be more by now


@dataclass(frozen=True, slots=True)
class Range:
    """What one answer covers. ``seen`` is the stream as it was when that was decided."""

    stream: Stream
    seen: Seen
    start: int
    stop: int

    @property
    def up_to_date(self) -> bool:
        return self.stop >= self.seen.tail

    @property
    def at_end(self) -> bool:
        return self.up_to_date and self.seen.closed


async def find(store: Store, stream: Stream, start: int) -> Range:
    """Raises Refusal 400 for an offset inside a JSON message, 404."""
    seen = stream.durable
    start = min(start, seen.tail)
    try:
        if not await reading.is_boundary(store.files, stream, start):
            raise Refusal(400, "the offset lies inside a message")
        stop = await reading.stop_for(store.files, stream, start, MAX_ANSWER)
    except FileNotFoundError:
        raise not_found() from None
    return Range(stream, seen, start, min(stop, seen.tail))


def find_now(store: Store, stream: Stream, start: int) -> Range | None:
    """``find`` of all there is from ``start`` on; None if that is long, or no place to begin."""
    seen = stream.durable
    start = min(start, seen.tail)
    if seen.tail - start > reading.PIECE:
        return None
    if start not in {0, seen.tail} and media.is_json(stream.made.content_type):
        before = _now(store, stream, start - 1, start)
        if before != jsonmode.END:
            return None
    return Range(stream, seen, start, seen.tail)


def content_now(store: Store, found: Range) -> bytes | None:
    """The bytes themselves; None if they are not in memory, or gone."""
    data = _now(store, found.stream, found.start, found.stop)
    if data is None or not media.is_json(found.stream.made.content_type):
        return data
    return jsonmode.array(data)


def _now(store: Store, stream: Stream, start: int, stop: int) -> bytes | None:
    try:
        return reading.read_now(store.files, stream, start, stop)
    except FileNotFoundError:
        return None


async def catch_up(store: Store, request: Read, send: Send) -> None:
    """Raises Refusal, before anything is sent."""
    stream = store.look(request.name)
    store.touch(stream)
    if request.offset is None:
        await deliver(send, _tail(stream))
        return
    found = await find(store, stream, request.offset)
    tag = etag(store, found)
    headers = where(found) | {"ETag": tag, "Cache-Control": _caching(found)}
    if tag in request.known_tags or "*" in request.known_tags:
        await deliver(send, Answer(304, headers))
        return
    await content(store, found, headers, send)


def _caching(found: Range) -> str:
    return _GROWING if found.up_to_date else _SETTLED


def _tail(stream: Stream) -> Answer:
    """``offset=now``: nothing but where the tail is (§8)."""
    tail = stream.durable.tail
    found = Range(stream, stream.durable, tail, tail)
    body = jsonmode.array(b"") if media.is_json(stream.made.content_type) else b""
    headers = {"Content-Type": stream.made.content_type, "Cache-Control": "no-store"}
    return Answer(200, headers | where(found), body)


def where(found: Range) -> dict[str, str]:
    headers = {"Stream-Next-Offset": token(found.stop)}
    if found.up_to_date:
        headers["Stream-Up-To-Date"] = "true"
    if found.at_end:
        headers["Stream-Closed"] = "true"
    return headers


def etag(store: Store, found: Range) -> str:
    """Names the folder too: numbers of streams begin again in a new one."""
    closed = ":c" if found.at_end else ""
    return f'"{store.store_id}:{found.stream.sid}:{found.start}:{found.stop}{closed}"'


async def content(store: Store, found: Range, headers: dict[str, str], send: Send) -> None:
    """The bytes themselves, never more than a piece of them in memory."""
    stream = found.stream
    is_json = media.is_json(stream.made.content_type)
    size = found.stop - found.start
    length = jsonmode.size(size) if is_json else size
    headers |= {"Content-Type": stream.made.content_type, "Content-Length": str(length)}
    if size <= reading.PIECE:
        data = await _whole(store, found)
        await begin(send, 200, headers)
        await put(send, jsonmode.array(data) if is_json else data, more=False)
        return
    await begin(send, 200, headers)
    await _pieces(store, found, send, is_json=is_json)


async def _whole(store: Store, found: Range) -> bytes:
    """Raises Refusal 404 if the stream was deleted since it was looked up."""
    try:
        return await reading.read(store.files, found.stream, found.start, found.stop)
    except FileNotFoundError:
        raise not_found() from None


async def _pieces(store: Store, found: Range, send: Send, *, is_json: bool) -> None:
    if is_json:
        await put(send, b"[", more=True)
    for at in range(found.start, found.stop, reading.PIECE):
        last = at + reading.PIECE >= found.stop
        stop = min(at + reading.PIECE, found.stop)
        data = await reading.read(store.files, found.stream, at, stop)
        if is_json:
            data = jsonmode.inner(data[:-1]) + b"]" if last else jsonmode.inner(data)
        await put(send, data, more=not last)
        await anyio.lowlevel.checkpoint()  # a send need not wait, and others shall not for long

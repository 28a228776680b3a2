"""GET that waits: long-poll (§5.7) and server-sent events (§5.8)."""

import random
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from pkg.httpserver import Receive, Send
from streams.app import reads
from streams.app.answer import Answer, begin, deliver, put
from streams.protocol import media, sse
from streams.protocol.cursor import cursor
from streams.protocol.offsets import token
from streams.protocol.refusal import gone
from streams.protocol.requests import Read
from streams.store import reading
from streams.store.state import Seen, Stream
from streams.store.store import Store

LONG_POLL_SECONDS = 30.0
SSE_SECONDS = 60.0
MAX_EVENT = 256 * 1024
MAX_EVENTS_KEPT = 4  # encoded events a stream keeps for those who come next


@dataclass(slots=True)
class Waiting:
    """How readers wait. ``draining``: they are sent away, to come back to another server."""

    long_poll_seconds: float = LONG_POLL_SECONDS
    sse_seconds: float = SSE_SECONDS
    rng: random.Random = field(default_factory=random.Random)
    draining: anyio.Event = field(default_factory=anyio.Event)
    readers: int = 0
    leaving: dict[Callable[[], None], None] = field(default_factory=dict)

    def drain(self) -> None:
        """Send all away: those who wait as tasks, and those who are to be called."""
        self.draining.set()
        for leave in list(self.leaving):
            leave()

    def enter(self, stream: Stream) -> None:
        self.readers += 1
        stream.readers += 1

    def leave(self, stream: Stream) -> None:
        self.readers -= 1
        stream.readers -= 1


@contextmanager
def counted(waiting: Waiting, stream: Stream) -> Generator[None]:
    waiting.enter(stream)
    try:
        yield
    finally:
        waiting.leave(stream)


@asynccontextmanager
async def until_gone(receive: Receive, also: anyio.Event) -> AsyncGenerator[None]:
    """The block is left when the caller is gone, or ``also`` is set."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        async def watch_also() -> None:
            await also.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        tasks.start_soon(watch_also)
        yield
        tasks.cancel_scope.cancel()


async def long_poll(
    store: Store, waiting: Waiting, request: Read, receive: Receive, send: Send
) -> None:
    """Raises Refusal, before anything is sent."""
    stream = store.look(request.name)
    store.touch(stream)
    start = stream.durable.tail if request.offset is None else request.offset
    start = min(start, stream.durable.tail)
    if not news(stream, start):
        with counted(waiting, stream):
            await _wait_for_news(waiting, stream, start, receive)
        store.touch(stream)
    if stream.durable.gone:
        raise gone()
    found = await reads.find(store, stream, start)
    headers = polled(store, waiting, request, found)
    if found.stop == found.start:
        await deliver(send, Answer(204, headers))
    else:
        await reads.content(store, found, headers, send)


def polled(store: Store, waiting: Waiting, request: Read, found: reads.Range) -> dict[str, str]:
    """The headers of a poll's answer: 204 if there is nothing in it."""
    headers = {"Stream-Cursor": cursor(store.wall(), request.cursor, waiting.rng)}
    headers |= reads.where(found)
    if found.stop == found.start:
        return headers | {"Cache-Control": "no-store"}
    return headers | {"ETag": reads.etag(store, found)}


def news(stream: Stream, start: int) -> bool:
    seen = stream.durable
    return seen.tail > start or seen.closed or seen.gone


async def _wait_for_news(waiting: Waiting, stream: Stream, start: int, receive: Receive) -> None:
    with anyio.move_on_after(waiting.long_poll_seconds):
        async with until_gone(receive, waiting.draining):
            while not news(stream, start):
                await stream.change().wait()


async def events(
    store: Store, waiting: Waiting, request: Read, receive: Receive, send: Send
) -> None:
    """An event stream for about a minute. Raises Refusal, before anything is sent."""
    stream = store.look(request.name)
    store.touch(stream)
    at = stream.durable.tail if request.offset is None else request.offset
    at = (await reads.find(store, stream, at)).start
    await begin(send, 200, _headers(stream))
    with counted(waiting, stream), anyio.move_on_after(waiting.sse_seconds):
        async with until_gone(receive, waiting.draining):
            with suppress(FileNotFoundError):  # deleted in between: it ends as any deleted one
                await _follow(store, waiting, stream, at, request.cursor, send)
    await put(send, b"", more=False)


def _headers(stream: Stream) -> dict[str, str]:
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    if not media.is_text(stream.made.content_type):
        headers["stream-sse-data-encoding"] = "base64"
    return headers


async def _follow(
    store: Store, waiting: Waiting, stream: Stream, at: int, given: str | None, send: Send
) -> None:
    """Send what there is, wait for more; ends with the stream. A slow reader holds one event."""
    first = True
    while True:
        change, seen = stream.change(), stream.durable
        if seen.gone:
            return
        if first or seen.tail > at or seen.closed:
            given = cursor(store.wall(), given, waiting.rng) if first else given
            at = await _send_next(store, stream, seen, at, given or "", send)
            first = False
            if seen.closed and at >= seen.tail:
                return
            if at < seen.tail:  # a send to one who is gone waits for nothing: others may now
                await anyio.lowlevel.checkpoint()
        else:
            await change.wait()
            store.touch(stream)
            given = _advance(store, waiting, given)


def _advance(store: Store, waiting: Waiting, given: str | None) -> str:
    """The interval has moved on, or the cursor stays what this reader was told last."""
    now = cursor(store.wall(), None, waiting.rng)
    return max(now, given or now, key=int)


async def _send_next(
    store: Store, stream: Stream, seen: Seen, at: int, mark: str, send: Send
) -> int:
    """One data event, if there is data, and its control; answers where the reader stands now."""
    stop = min(await _stop(store, stream, at), seen.tail)
    parts = [await _encoded(store, stream, at, stop)] if stop > at else []
    up_to_date = stop >= seen.tail
    closed = up_to_date and seen.closed
    parts.append(sse.control(token(stop), mark, up_to_date=up_to_date, closed=closed))
    await put(send, b"".join(parts), more=True)
    return stop


async def _encoded(store: Store, stream: Stream, start: int, stop: int) -> bytes:
    """The event for a range: the first reader that needs it encodes it for all."""
    found = stream.events.get((start, stop))
    if found is None:
        payload = await reading.read(store.files, stream, start, stop)
        found = sse.data(payload, stream.made.content_type)
        if len(stream.events) < MAX_EVENTS_KEPT:
            stream.events[start, stop] = found
    return found


async def _stop(store: Store, stream: Stream, at: int) -> int:
    stop = await reading.stop_for(store.files, stream, at, MAX_EVENT)
    is_utf8 = media.is_text(stream.made.content_type) and not media.is_json(
        stream.made.content_type
    )
    if stop < stream.durable.tail and is_utf8:
        return stop - await _begun_character(store, stream, stop)
    return stop


async def _begun_character(store: Store, stream: Stream, stop: int) -> int:
    """Bytes before ``stop`` that begin a UTF-8 character which ends after it: 0 to 3."""
    last = await reading.read(store.files, stream, stop - 3, stop)
    text = last.decode("utf-8", "ignore").encode()
    for back in (1, 2, 3):
        if last[-back] >= 0xC0:
            return back if not text.endswith(last[-back:]) else 0
    return 0

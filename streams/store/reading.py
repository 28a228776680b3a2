"""Durable bytes of a stream and its ancestors, in pieces of bounded size.

What the page cache holds is read at once, on the loop; the rest in a thread, so that a cold disk
stops nobody else.
"""

from collections.abc import Iterator

import anyio.to_thread

from streams.protocol import jsonmode, media
from streams.store.files import Files
from streams.store.state import Stream

PIECE = 256 * 1024
_PROBE = 64 * 1024


def slices(stream: Stream, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(stream's number, position, size) of each file's part, in order."""
    parts = []
    for one, end in stream.lineage():
        begin, end = max(start, one.made.base), min(stop, end)
        if begin < end:
            parts.append((one.sid, begin, end - begin))
        if one.made.base <= start:
            break
    yield from reversed(parts)


async def read(files: Files, stream: Stream, start: int, stop: int) -> bytes:
    """Raises FileNotFoundError if the stream was removed meanwhile, OSError."""
    parts = []
    for sid, at, size in slices(stream, start, stop):
        found = files.read_now(sid, at, size)
        if found is None:
            found = await anyio.to_thread.run_sync(files.read, sid, at, size)
        parts.append(found)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_now(files: Files, stream: Stream, start: int, stop: int) -> bytes | None:
    """``read`` of what the page cache holds; None if the disk would have to be waited for."""
    parts = [files.read_now(*part) for part in slices(stream, start, stop)]
    found = [part for part in parts if part is not None]
    return b"".join(found) if len(found) == len(parts) else None


async def boundary(files: Files, stream: Stream, at: int) -> int:
    """The end of the JSON message that byte ``at - 1`` belongs to; ``at`` where it ends one."""
    tail = stream.durable.tail
    at = max(0, at - 1)
    while at < tail:
        stop = min(at + _PROBE, tail)
        found = (await read(files, stream, at, stop)).find(jsonmode.END)
        if found >= 0:
            return at + found + 1
        at = stop
    return tail


async def stop_for(files: Files, stream: Stream, start: int, limit: int) -> int:
    """Where an answer of about ``limit`` bytes ends: at the tail, or between messages."""
    tail = stream.durable.tail
    if tail - start <= limit:
        return tail
    if media.is_json(stream.made.content_type):
        return await boundary(files, stream, start + limit)
    return start + limit


async def is_boundary(files: Files, stream: Stream, at: int) -> bool:
    """Whether a reader may begin there: JSON is not read from the middle of a message."""
    if at == 0 or not media.is_json(stream.made.content_type) or at > stream.durable.tail:
        return True
    return await read(files, stream, at - 1, at) == jsonmode.END


async def after_messages(files: Files, stream: Stream, at: int, count: int) -> int | None:
    """The end of the ``count``-th JSON message after ``at``; None if there are fewer."""
    tail = stream.durable.tail
    while count and at < tail:
        data = await read(files, stream, at, min(at + PIECE, tail))
        ends = data.count(jsonmode.END)
        if ends >= count:
            return at + _nth_end(data, count)
        count, at = count - ends, at + len(data)
    return None if count else at


def _nth_end(data: bytes, count: int) -> int:
    """
    >>> _nth_end(b"1\\n22\\n3\\n", 2)
    5
    """
    at = 0
    for _ in range(count):
        at = data.index(jsonmode.END, at) + 1
    return at

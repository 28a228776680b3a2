"""HTTP/1.1 over one keep-alive connection, as cheap as Python has it.

A load generator must cost far less than the server it loads: requests are bytes made once, of an
answer only what frames it is parsed, and what comes next is a callback.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

import anyio

from bench.http import UnexpectedAnswerError

HEAD_END = b"\r\n\r\n"
NO_CONTENT = b"204"
NEXT = b"stream-next-offset"
TEXT = {"Content-Type": "text/plain"}
UNTIL_CLOSED = 1 << 60


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Whole, to be sent as often as one likes.

    >>> request("GET", "/a", {})
    b'GET /a HTTP/1.1\\r\\nHost: bench\\r\\n\\r\\n'
    """
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Reply:
    """One answer as it comes in. ``head`` in small letters, ``size`` of its content so far.

    >>> reply = Reply()
    >>> reply.feed(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nab")
    False
    >>> reply.feed(b"c\\r\\n0\\r\\n\\r\\n"), reply.status, reply.size
    (True, 200, 3)
    """

    __slots__ = ("_chunked", "_kept", "_last", "_left", "head", "size", "status")

    def __init__(self) -> None:
        self.head = b""
        self.status = 0
        self.size = 0
        self._kept = b""
        self._left = 0  # bytes of the content, or of the present chunk and its line end
        self._chunked = False
        self._last = False

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole. Raises ValueError if it is none."""
        if not self.head:
            data = self._kept + data
            end = data.find(HEAD_END)
            if end < 0:
                self._kept = data
                return False
            self._begin(data[:end].lower())
            data = data[end + 4 :]
            self._kept = b""
        if self._chunked:
            return self._chunks(data)
        self.size += len(data)
        self._left -= len(data)
        return self._left <= 0

    def header(self, name: bytes) -> bytes:
        """Empty if it is not there.

        >>> reply = Reply()
        >>> reply.feed(b"HTTP/1.1 204 No Content\\r\\nStream-Next-Offset: 07\\r\\n\\r\\n")
        True
        >>> reply.header(b"stream-next-offset"), reply.header(b"etag")
        (b'07', b'')
        """
        start = self.head.find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        value = self.head[start + len(name) + 3 :]
        return value.partition(b"\r\n")[0].strip()

    def _begin(self, head: bytes) -> None:
        self.head = head
        self.status = int(head[9:12])
        if head[9:12] in {NO_CONTENT, b"304"}:
            return
        self._chunked = self.header(b"transfer-encoding") == b"chunked"
        length = self.header(b"content-length")
        self._left = 0 if self._chunked else int(length) if length else UNTIL_CLOSED

    def _chunks(self, data: bytes) -> bool:
        data, self._kept = self._kept + data, b""
        while True:
            taken = min(self._left, len(data))
            self._left -= taken
            data = data[taken:]
            if self._left:
                return False
            if self._last:
                return True
            line, found, rest = data.partition(b"\r\n")
            if not found:
                self._kept = data
                return False
            size = int(line, 16)
            self.size += size
            self._left, self._last, data = size + 2, size == 0, rest


_GOOD = Reply()
_GOOD.status = 200  # as if there had been a request before the first

Heard: TypeAlias = Callable[["Wire", Reply], None]


class Wire(asyncio.Protocol):
    """One request at a time; ``heard`` gets each answer, ``saw`` all bytes as they come in.

    A connection that the server ends is heard as an answer of status 0.
    """

    def __init__(self, heard: Heard, saw: Callable[[bytes], None] | None = None) -> None:
        self._heard = heard
        self._saw = saw
        self._reply = Reply()
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._closed:
            self._heard(self, Reply())

    def ask(self, whole: bytes) -> None:
        if self._transport is not None:
            self._transport.write(whole)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more: what the server sends stays where it is."""
        if self._transport is not None:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._saw is not None:
            self._saw(data)
        if self._reply.feed(data):
            whole, self._reply = self._reply, Reply()
            self._heard(self, whole)


async def connected(port: int, heard: Heard, saw: Callable[[bytes], None] | None = None) -> Wire:
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(heard, saw), "127.0.0.1", port)
    return wire


async def answer(port: int, whole: bytes) -> Reply:
    """Of one request on a connection of its own."""
    found: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    wire = await connected(port, lambda _, reply: found.set_result(reply))
    try:
        wire.ask(whole)
        return await found
    finally:
        wire.close()


async def tail(port: int, path: str) -> str:
    """The offset where the stream ends now."""
    found = await answer(port, request("GET", f"{path}?offset=now", {}))
    return found.header(NEXT).decode()


async def each(port: int, wholes: Iterable[bytes], connections: int) -> None:
    """Every request once, in no certain order. Raises UnexpectedAnswerError unless all do well."""
    todo, left, over = iter(wholes), connections, anyio.Event()
    bad: list[int] = []

    def heard(wire: Wire, reply: Reply) -> None:
        nonlocal left
        if not 200 <= reply.status < 300:
            bad.append(reply.status)
        following = next(todo, None) if not bad else None
        if following is not None:
            wire.ask(following)
            return
        left -= 1
        if not left:
            over.set()

    wires = [await connected(port, heard) for _ in range(connections)]
    for wire in wires:
        heard(wire, _GOOD)
    await over.wait()
    for wire in wires:
        wire.close()
    if bad:
        raise UnexpectedAnswerError(f"answers {sorted(set(bad))} where 2xx was wanted")

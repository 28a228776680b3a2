"""The least HTTP/1.1 client that will do: one request at a time on one kept connection.

Shared by both sides of a comparison, and cheap (about 0.05 ms a request), so that neither the
latency nor the throughput measured is the client's own.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class UnexpectedAnswerError(Exception):
    """The server answered with an error; a figure taken from it would mean nothing."""


class Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    async def ask(self, method: str, path: str, body: str = "") -> tuple[int, bytes]:
        """Status and body."""
        kind = "content-type: application/json\r\n" if body else ""
        length = f"content-length: {len(body)}\r\n" if body else ""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\n{self._head}{kind}{length}\r\n{body}".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        content = await self._reader.readexactly(_length(head))
        return int(head[9:12]), content

    async def must(self, method: str, path: str, body: str = "") -> bytes:
        """The body of a 2xx answer. Raises UnexpectedAnswerError."""
        status, content = await self.ask(method, path, body)
        if not 200 <= status < 300:
            words = content[:300].decode(errors="replace")
            raise UnexpectedAnswerError(f"{method} {path}: {status} {words}")
        return content


def _length(head: bytes) -> int:
    """
    >>> _length(b"HTTP/1.1 200 OK\\r\\nContent-Length: 12\\r\\n\\r\\n")
    12
    """
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    at += len(b"\r\ncontent-length:")
    return int(lowered[at : lowered.index(b"\r\n", at)])


@asynccontextmanager
async def connected(url: str, api_key: str) -> AsyncGenerator[Connection]:
    """Raises OSError if nobody listens there."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"host: {parts.netloc}\r\nauthorization: Bearer {api_key}\r\n"
    try:
        yield Connection(reader, writer, head)
    finally:
        writer.close()

"""HTTP by hand: what clients refuse to send, and what came back, byte for byte."""

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc

ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """``raw`` replaces everything else. A body gets a Content-Length unless one is given."""

    method: str = "GET"
    target: str | bytes = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    raw: bytes | None = None

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        target = self.target if isinstance(self.target, bytes) else self.target.encode()
        lines = [self.method.encode() + b" " + target + b" HTTP/1.1", b"Host: onair"]
        lines += [f"{k}: {v}".encode("latin-1") for k, v in self.headers.items()]
        framed = {name.lower() for name in self.headers} & {"content-length", "transfer-encoding"}
        if self.body is not None and not framed:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", b""]) + (self.body or b"")


async def ask(port: int, request: Request, *, close_after: bool = False) -> Answer | None:
    """The answer, or None if the connection was closed without one."""
    with anyio.fail_after(ANSWER_SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            try:
                await stream.send(request.encode())
                if close_after:
                    await stream.send_eof()
            except (anyio.BrokenResourceError, OSError):
                pass  # refused while we were still sending: the answer is there to be read
            return await read_answer(stream, head=request.method == "HEAD")


async def read_answer(stream: anyio.abc.SocketStream, *, head: bool = False) -> Answer | None:
    buffer = b""
    try:
        while b"\r\n\r\n" not in buffer:
            buffer += await stream.receive()
        top, _, body = buffer.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        headers = {
            k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])
        }
        length = 0 if head else int(headers.get("content-length", "0"))
        while len(body) < length:
            body += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return None
    return Answer(int(lines[0].split()[1]), headers, body)

"""What every answer has in common, and how one is sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pkg.httpserver import Send
from streams.protocol.refusal import Refusal

Pairs = Iterable[tuple[str, str]]
METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
EXPOSED = (
    "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-TTL, "
    "Stream-Expires-At, Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, "
    "Producer-Expected-Seq, Producer-Received-Seq, ETag, Location, Content-Type, "
    "Content-Encoding, Vary"
)
ALLOWED = (
    "authorization, content-type, if-none-match, cache-control, stream-seq, stream-ttl, "
    "stream-expires-at, stream-closed, stream-forked-from, stream-fork-offset, "
    "stream-fork-sub-offset, producer-id, producer-epoch, producer-seq"
)
EVERYWHERE = (
    (b"x-content-type-options", b"nosniff"),  # §12.7
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", EXPOSED.encode()),
)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def preflight() -> Answer:
    headers = {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": ALLOWED,
        "access-control-max-age": "86400",
    }
    return Answer(204, headers)


def refused(refusal: Refusal) -> Answer:
    headers = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
    return Answer(refusal.status, headers | dict(refusal.headers), refusal.detail.encode() + b"\n")


async def begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*EVERYWHERE, *pairs]})


async def put(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


def complete(answer: Answer, *, head: bool = False) -> dict[str, str]:
    """Its headers; an answer to HEAD, or without content, tells no length (RFC 9110 §8.6)."""
    headers = dict(answer.headers)
    if not head and answer.status not in {204, 304}:
        headers["content-length"] = str(len(answer.body))
    return headers


async def deliver(send: Send, answer: Answer, *, head: bool = False) -> None:
    """A whole answer."""
    await begin(send, answer.status, complete(answer, head=head))
    await put(send, b"" if head else answer.body, more=False)

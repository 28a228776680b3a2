"""The corpus's raw requests: what no HTTP client sends. Some may be answered by closing."""

from collections.abc import Iterator

from tests.security.cases import Case
from tests.security.wire import Request

BAD = frozenset({400})
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


def framing(api_key: str) -> Iterator[Case]:
    """Complete nonsense, ambiguous lengths, and bodies that end early or never."""
    head = f"POST /api/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_key}\r\n"
    json = head + "Content-Type: application/json\r\n"
    good = '{"roomId":"smuggled"}'
    raw = {
        "nothing HTTP": "hello\r\n\r\n",
        "binary": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 64,
        "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/9": "GET / HTTP/9.9\r\n\r\n",
        "no path": "GET  HTTP/1.1\r\n\r\n",
        "proxy": "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "relative path": "GET api/rooms HTTP/1.1\r\nHost: x\r\n\r\n",
        "unknown method": "BREW /api/rooms HTTP/1.1\r\nHost: x\r\n\r\n",
        "raw bytes in the path": "GET /api/rooms/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        "NUL in the path": "GET /api/rooms/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "space in the path": "GET /api/rooms/a b HTTP/1.1\r\nHost: x\r\n\r\n",
        "header without colon": "GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
        "header with a space": "GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n",
        "NUL in a header": "GET /healthz HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        "length and chunked": json + "Content-Length: 21\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n" + good,
        "chunked and length": json + "Transfer-Encoding: chunked\r\nContent-Length: 21\r\n\r\n"
        "0\r\n\r\n" + good,
        "two lengths": json + f"Content-Length: 21\r\nContent-Length: 2\r\n\r\n{good}",
        "length list": json + f"Content-Length: 21, 21\r\n\r\n{good}",
        "negative length": json + f"Content-Length: -1\r\n\r\n{good}",
        "signed length": json + f"Content-Length: +21\r\n\r\n{good}",
        "length in words": json + f"Content-Length: abc\r\n\r\n{good}",
        "length with underscore": json + f"Content-Length: 2_1\r\n\r\n{good}",
        "length in Arabic digits": json + f"Content-Length: \xd9\xa1\r\n\r\n{good}",
        "length of 30 digits": json + f"Content-Length: {'9' * 30}\r\n\r\n{good}",
        "bad chunk size": json + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "negative chunk": json + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        "huge chunk": json + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "unknown coding": json + f"Transfer-Encoding: gzip\r\n\r\n{good}",
        "chunked not last": json + f"Transfer-Encoding: chunked, gzip\r\n\r\n{good}",
    }
    for what, text in raw.items():
        yield Case(what, Request(raw=text.encode("latin-1")), BAD, keyed=False)
    for what, text, status in (
        ("no version", "GET /api/rooms\r\n\r\n", 401),
        ("asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("absolute address", "GET http://evil/api/rooms HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        ("HTTP/1.0", "GET /api/rooms HTTP/1.0\r\n\r\n", 401),
        ("WebSocket", f"GET /api/rooms HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", 401),
    ):
        yield Case(what, Request(raw=text.encode()), frozenset({status}), keyed=False)
    for what, size in (("40 KB header", 40_000), ("1 MB header", 1_000_000)):
        text = f"GET /healthz HTTP/1.1\r\nHost: x\r\nA: {'x' * size}\r\n\r\n"
        yield Case(what, Request(raw=text.encode()), frozenset({431}), keyed=False)
    many = "GET /healthz HTTP/1.1\r\n" + "A: b\r\n" * 20_000 + "\r\n"
    yield Case("20,000 headers", Request(raw=many.encode()), frozenset({431}), keyed=False)
    path = f"GET /{'x' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n"
    yield Case("100 KB path", Request(raw=path.encode()), frozenset({431}), keyed=False)
    length = f"Content-Length: {10**12}\r\n\r\n"
    yield Case("a terabyte", Request(raw=(json + length).encode()), frozenset({413}), keyed=False)
    asked = json + f"Content-Length: {10**6}\r\nExpect: 100-continue\r\n\r\n"
    yield Case("may I send 1 MB", Request(raw=asked.encode()), frozenset({413}), keyed=False)


def cut_short(api_key: str) -> Iterator[bytes]:
    """Requests whose sender goes away before they are whole; each would create a room."""
    head = (
        f"POST /api/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_key}\r\n"
        "Content-Type: application/json\r\n"
    )
    good = '{"roomId":"truncated"}'
    yield (head + f"Content-Length: {len(good) + 100}\r\n\r\n{good}").encode()
    yield (head + f"Transfer-Encoding: chunked\r\n\r\n{len(good):x}\r\n{good}\r\n").encode()
    yield (head + f"Transfer-Encoding: chunked\r\n\r\n{len(good) + 9:x}\r\n{good}").encode()
    yield (head + f"Transfer-Encoding: chunked\r\n\r\n{len(good):x}\r\n{good}\r\n-1\r\n").encode()
    yield (head + "Content-Length: 2\r\n\r\n").encode()
    yield (head + "Content-Length: 0\r\n").encode()

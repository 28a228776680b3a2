"""The gateway's corpus, first part: handshakes that are refused, and the status that is right."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jwt

from pkg.secrets import key_id, token_key
from pkg.tokens import AUDIENCE, ISSUER, TYPE, Role, Tokens
from tests.security import case_tokens
from tests.security.cases import Case
from tests.security.wire import Request

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ORIGINS = (
    *("https://evil.example", "http://evil.example", "null", "", "file://", "onair", "https://"),
    *("https://pages.example.evil.example", "https://evilpages.example", "http://pages.example"),
    *("https://pages.example:8443", "https://pages.example/", "https://user@pages.example"),
    *("https://pages.example, https://evil.example", "https://pages.example\\@evil.example"),
    *("ws://onair", "HTTPS://EVIL.EXAMPLE", "https://[::1", "http://onair.evil.example"),
)
PATHS = (
    *("/", "/ws/", "/WS", "//ws", "/ws/..", "/ws%2f", "/ws%00", "/ws%0a", "/%77s", "/ws;a", "/api"),
    *("/../ws", "/ws/ws", "/hls/blue/live.m3u8", "/metrics/", "/healthz/x", "/ws%3Ftoken=x", "*"),
    *("/debug", "/admin", "/.git/config", "/etc/passwd", "/ws\\", "http://evil/ws"),
)
METHODS = ("POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get")
BAD_UPGRADES: dict[str, dict[str, str | None]] = {
    "no upgrade": {"Upgrade": None},
    "another upgrade": {"Upgrade": "h2c"},
    "no connection": {"Connection": None},
    "connection closes": {"Connection": "close"},
    "no key": {"Sec-WebSocket-Key": None},
    "a short key": {"Sec-WebSocket-Key": "AAAA"},
    "a key that is none": {"Sec-WebSocket-Key": "*" * 24},
    "no version": {"Sec-WebSocket-Version": None},
    "version 8": {"Sec-WebSocket-Version": "8"},
    "version in words": {"Sec-WebSocket-Version": "x"},
}
NOT_HTTP = {
    "nothing HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET /ws HTTP/9.9\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes": b"GET /ws?\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL": b"GET /ws\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no colon": b"GET /ws HTTP/1.1\r\nnonsense\r\n\r\n",
    "a space in a name": b"GET /ws HTTP/1.1\r\nHo st: x\r\n\r\n",
    "NUL in a value": b"GET /ws HTTP/1.1\r\nA: \x00\r\n\r\n",
    "200 headers": b"GET /ws HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "a long path": b"GET /ws?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /ws HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
    "a megabyte": b"GET /ws?token=" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    "folded": b"GET /ws HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "a body": b"GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"GET /ws HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


def opening(target: str = "/ws", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", target, {**UPGRADE, **named})


def tokens(master: str) -> dict[str, str]:
    """All of them worth nothing at a gateway."""
    key = token_key(master.encode())
    good = Tokens([key])
    listener = good.issue(case_tokens.OPEN, "mo", Role.LISTENER, now=case_tokens.now(), ttl=60)
    found = case_tokens.forged(master)
    found |= {k: v for k, v in case_tokens.dead(master).items() if "room" not in k}
    return found | _odd(key) | {"a listener's": listener, "empty": "", "spaces": "  "}


def _odd(key: bytes) -> dict[str, str]:
    """Rows of spec 4.3 that are not among the room manager's cases."""
    now = case_tokens.now()
    claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "mo", "room": "open"}
    claims |= {"role": "host", "iat": now, "exp": now + 60, "jti": "j"}
    header: dict[str, Any] = {"typ": TYPE, "kid": key_id(key)}

    def signed(*, with_key: bytes = key, head: dict[str, Any] | None = None, **more: Any) -> str:
        said = {k: v for k, v in (claims | more).items() if v is not None}
        return jwt.encode(said, with_key, algorithm="HS256", headers=header | (head or {}))

    def by_hand(head: str, body: str) -> str:
        parts = ".".join(map(case_tokens.part, (head, body)))
        mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        return f"{parts}.{_b64(mac.sign(parts.encode(), key))}"

    head, body = json.dumps({"alg": "HS256", **header}), json.dumps(claims)
    return {
        "kid a path": signed(head={"kid": "../../dev/null"}),
        "kid a number": by_hand(json.dumps({"alg": "HS256", "typ": TYPE, "kid": 1}), body),
        "kid a list": by_hand(json.dumps({"alg": "HS256", "typ": TYPE, "kid": []}), body),
        "no kid": by_hand(json.dumps({"alg": "HS256", "typ": TYPE}), body),
        "another type": signed(head={"typ": "JWT"}),
        "critical": signed(head={"crit": ["exp"]}),
        "its own key": signed(with_key=b"k" * 32, head={"jwk": {"kty": "oct", "k": "aw"}}),
        "key's address": signed(with_key=b"k" * 32, head={"jku": "https://evil.example/keys"}),
        "alg twice": by_hand('{"alg":"none","alg":"HS256"' + f",{head[1:]}", body),
        "sub twice": by_hand(head, '{"sub":"admin",' + body[1:]),
        "room twice": by_hand(head, body[:-1] + ',"room":"shut"}'),
        "claims a list": by_hand(head, "[]"),
        "claims deep": by_hand(head, "[" * 900 + "]" * 900),
        "NaN": by_hand(head, body[:-1] + ',"nbf":NaN}'),
        "sub a number": by_hand(head, json.dumps(claims | {"sub": 7})),
        "sub a list": by_hand(head, json.dumps(claims | {"sub": ["mo"]})),
        "no sub": signed(sub=None),
        "no room": signed(room=None),
        "no jti": signed(jti=None),
        "no iat": signed(iat=None),
        "no aud": signed(aud=None),
        "not before tomorrow": signed(nbf=now + 86_400),
        "true for ever": by_hand(head, json.dumps(claims | {"exp": True})),
        "a fraction": signed(exp=now + 60.5),
        "a room that cannot be": signed(room="../open"),
        "a user with a line end": signed(sub="mo\n"),
        "grants of a wrong kind": signed(grants={"air": 1}),
        "not ASCII": "é.é.é",
        "four parts": signed() + ".x",
        "two parts": signed().rpartition(".")[0],
        "another signature": signed()[:-2] + "AA",
    }


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def handshakes(master: str, good: str) -> Iterator[Case]:
    """``good``: a token that would be let in."""
    yield from _tokens(master, good)
    for origin in ORIGINS:
        request = opening(Authorization=f"Bearer {good}", Origin=origin)
        yield _case(f"origin {origin!r}", request, 403, "wrong-origin")
    for path in PATHS:
        request = opening(path + ("?token=" + good if "?" not in path else ""))
        yield _case(f"path {path!r}", request, 404, "not-found")
    for method in METHODS:
        request = Request(method, f"/ws?token={good}", UPGRADE)
        yield _case(f"method {method}", request, 405, None)
    for what, changes in BAD_UPGRADES.items():
        every: dict[str, str | None] = {**UPGRADE, "Authorization": f"Bearer {good}", **changes}
        request = Request("GET", "/ws", {k: v for k, v in every.items() if v is not None})
        is_one = "key" in what or "version" in what
        yield _case(f"upgrade: {what}", request, 400 if is_one else 426, None)
    for what, raw in NOT_HTTP.items():
        status = frozenset({400, 404, 414, 431})
        yield Case(f"HTTP: {what}", Request(raw=raw), status, keyed=False)


def _tokens(master: str, good: str) -> Iterator[Case]:
    for what, token in tokens(master).items():
        offered = f"onair.v1, bearer.{token}"
        address = f"/ws?token={quote(token)}"
        yield _unauthorized(f"{what}, in the address", opening(address))
        yield _unauthorized(f"{what}, as bearer", opening(Authorization=f"Bearer {token}"))
        yield _unauthorized(f"{what}, as protocol", opening(Sec_WebSocket_Protocol=offered))
    for what, request in {
        "none": opening(),
        "two": opening(f"/ws?token={good}x", Authorization=f"Bearer {good}"),
        "two in the address": opening(f"/ws?token={good}&token={good}x"),
        "two protocols": opening(Sec_WebSocket_Protocol=f"bearer.{good}, bearer.{good}x"),
        "basic besides": opening(f"/ws?token={good}", Authorization="Basic YTpi"),
        "17 fields": opening(f"/ws?token={good}" + "&a=b" * 17),
        "in a cookie": opening(Cookie=f"token={good}"),
        "in another header": opening(X_Token=good),
    }.items():
        yield _unauthorized(what, request)


def _unauthorized(what: str, request: Request) -> Case:
    return _case(f"token {what}", request, 401, "unauthorized")


def _case(name: str, request: Request, status: int, code: str | None) -> Case:
    return Case(name, request, frozenset({status}), code, keyed=False)

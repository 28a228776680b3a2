"""The corpus's bodies: JSON that is none, too much of it, and the wrong kinds; framing by hand."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.security.cases import JSON, Case
from tests.security.wire import Request

MALFORMED = frozenset({400})
UNPROCESSABLE = frozenset({422})
LIMIT = 64 * 1024

TAKERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("POST", "/api/rooms", {}),
    ("POST", "/api/rooms/open/tokens", {"userId": "u", "role": "host"}),
    ("POST", "/api/rooms/open/revocations", {"userId": "u"}),
    ("POST", "/api/rooms/shut/listen", {"pin": "none"}),
    ("PUT", "/api/modules/janus/none/mark", {"mark": "ready"}),
)

NOT_JSON: dict[str, bytes] = {
    "words": b"hello",
    "half": b'{"roomId": ',
    "tail": b"{} {}",
    "single quotes": b"{'roomId': 'a'}",
    "trailing comma": b'{"roomId": "a",}',
    "comment": b'{/* */"roomId": "a"}',
    "spaces": b"   ",
    "NUL": b"\x00",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": json.dumps({"roomId": "a"}).encode("utf-16"),
    "UTF-8 cut": b'{"roomId": "\xc3"}',
    "overlong UTF-8": b'{"roomId": "\xc0\xaf"}',
    "raw control character": b'{"roomId": "a\nb"}',
    "duplicate key": b'{"roomId": "a", "roomId": "b"}',
    "duplicate key, escaped": b'{"roomId": "a", "room\\u0049d": "b"}',
    "duplicate key, inside": b'{"metadata": {"a": {"b": 1, "b": 2}}}',
    "NaN": b'{"metadata": {"a": NaN}}',
    "Infinity": b'{"metadata": {"a": Infinity}}',
    "-Infinity": b'{"metadata": {"a": -Infinity}}',
    "1e400": b'{"metadata": {"a": 1e400}}',
    "-1e400": b'{"metadata": {"a": [-1e400]}}',
    "5,000 digits": b'{"metadata": {"a": ' + b"9" * 5000 + b"}}",
    "depth 100 objects": b'{"a":' * 100 + b"1" + b"}" * 100,
    "depth 30,000": b"[" * 30_000 + b"]" * 30_000,
    "depth, unclosed": b'{"a":[' * 10_000,
    "lone surrogate": b'{"metadata": {"a": "\\ud800"}}',
    "lone surrogate as a name": b'{"metadata": {"\\udfff": 1}}',
    "quotes, escaped, unclosed": b'"' + b'\\"' * 30_000,
    "hex number": b'{"metadata": {"a": 0x10}}',
    "gzip": gzip.compress(b"{}"),
}
WRONG_KIND: dict[str, bytes] = {
    "array": b"[]",
    "array of bodies": b'[{"roomId": "a"}]',
    "text": b'"a"',
    "number": b"1",
    "true": b"true",
    "null": b"null",
    "unknown field": b'{"room": "a"}',
    "unknown field, snake case": b'{"room_id": "a", "user_id": "u"}',
    "prototype": b'{"__proto__": {"admin": true}}',
    "unknown field, 30 KB": b'{"' + b"x" * 30_000 + b'": 1}',
}
Values = list[Any]
CREATE_FIELDS: dict[str, Values] = {
    "roomId": ["", "a" * 65, "a/b", "..", "a\n", "-a", "٣", "a\0", "a b", 1, 0.5, [], {}, True],
    "pin": ["", "123", "x" * 65, "12 34", "1234\n", "\0" * 4, "é" * 4, 1234, [], {}, True],
    "metadata": [None, "x", 1, [], [1], True],
    "maxParticipants": [0, -1, 1001, 10**30, "5", 1.5, True, [], {}],
}
TOKEN_FIELDS: dict[str, Values] = {
    "userId": ["", "a b", "a" * 129, "-a", "a\n", "٣", "a\r\nX: y", "a\0", 1, None, [], {}],
    "role": ["", "admin", "HOST", "host\n", 1, None, ["host"]],
    "ttlSeconds": [0, -1, 86401, 10**30, "60", 1.5, True, None, []],
    "grants": ["air", 1, {}, True],
}
REVOKE_FIELDS: dict[str, Values] = {
    "userId": ["", "a b", "a" * 129, "-a", "a\n", "٣", "../x", "a/b", "a\0", 1, [], {}],
    "tokenId": ["", "a b", "a" * 65, "-a", "a\n", "٣", "../x", "a/b", "a\0", 1, [], {}],
}
LISTEN_FIELDS: dict[str, Values] = {"pin": ["x" * 65, 1234, [], {}, True]}
MARK_FIELDS: dict[str, Values] = {
    "mark": ["", "gone", "READY", 1, None, [], True],
    "deadlineSeconds": [-1, 10**9, "10", True, [], "x"],
}


def malformed() -> Iterator[Case]:
    for method, path, _ in TAKERS:
        for what, body in NOT_JSON.items():
            request = Request(method, path, JSON, body)
            yield Case(f"{method} {path}: {what}", request, MALFORMED, "malformed-json")
        for what, body in WRONG_KIND.items():
            request = Request(method, path, JSON, body)
            yield Case(f"{method} {path}: {what}", request, UNPROCESSABLE, "invalid-request")


def fields() -> Iterator[Case]:
    tables = (CREATE_FIELDS, TOKEN_FIELDS, REVOKE_FIELDS, LISTEN_FIELDS, MARK_FIELDS)
    for (method, path, good), table in zip(TAKERS, tables, strict=True):
        for name, value in [(key, v) for key in table for v in table[key]]:
            body = json.dumps({**good, name: value}).encode()
            request = Request(method, path, JSON, body)
            said = f"{method} {path}: {name}={value!r:.40}"
            yield Case(said, request, UNPROCESSABLE, "invalid-request", field=name)
        for name in good.keys() - {"pin"}:
            body = json.dumps({k: v for k, v in good.items() if k != name}).encode()
            request = Request(method, path, JSON, body)
            said = f"{method} {path}: no {name}"
            yield Case(said, request, UNPROCESSABLE, "invalid-request", field=name)


def kinds() -> Iterator[Case]:
    """Content types and encodings that are not read."""
    for method, path, good in TAKERS:
        body = json.dumps(good).encode()
        for what in (
            *("text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded"),
            *("multipart/form-data; boundary=x", "application/json; charset=utf-16", "json", "*/*"),
            *(
                "application/json, text/plain",
                "application/jsonx",
                "application/json; charset=utf-7",
            ),
        ):
            request = Request(method, path, {"Content-Type": what}, body)
            name = f"{method} {path}: {what}"
            yield Case(name, request, frozenset({415}), "unsupported-media-type")
        for coding in ("gzip", "br", "identity, gzip", "nonsense"):
            request = Request(method, path, {**JSON, "Content-Encoding": coding}, body)
            name = f"{method} {path}: encoding {coding}"
            yield Case(name, request, frozenset({415}), "unsupported-media-type")


def sizes() -> Iterator[Case]:
    def padded(size: int) -> bytes:
        frame = b'{"roomId": "/", "metadata": {"a": ""}}'
        return frame.replace(b'""}}', b'"' + b"x" * (size - len(frame)) + b'"}}')

    for method, path, _ in TAKERS:
        for size in (LIMIT - 1, LIMIT):
            request = Request(method, path, JSON, padded(size))
            yield Case(f"{method} {path}: {size} bytes", request, UNPROCESSABLE, "invalid-request")
        for size in (LIMIT + 1, 65 * 1024 + 1, 300_000, 5_000_000):
            request = Request(method, path, JSON, padded(size))
            name = f"{method} {path}: {size} bytes"
            yield Case(name, request, frozenset({413}), "body-too-large")
        chunked = {**JSON, "Transfer-Encoding": "chunked"}
        endless = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
        request = Request(method, path, chunked, endless * 9)
        yield Case(f"{method} {path}: chunked, too large", request, frozenset({413}))

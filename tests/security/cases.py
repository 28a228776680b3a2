"""The corpus: what strangers send to each route, and the answer that is right.

``Case.field`` is what a 422 must name. Rooms: ``open`` exists and is idle, ``shut`` has a PIN,
nothing else exists. Built from small tables, so that each input meets each route.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.security.wire import Request

Note = Callable[[str, object], None]  # pytest's record_property
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Case:
    name: str
    request: Request
    status: frozenset[int]
    code: str | None = None
    field: str | None = None
    allow: frozenset[str] | None = None
    keyed: bool = True  # whether the right API key is sent along


GOOD_IDS = {"room": "open", "kind": "janus", "module": "none", "user": "u"}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    allow: frozenset[str]
    body: dict[str, Any] | None = None
    open: bool = False

    def request(
        self, headers: Mapping[str, str] | None = None, ids: Mapping[str, str] | None = None
    ) -> Request:
        target = self.path
        for name, value in {**GOOD_IDS, **(ids or {})}.items():
            target = target.replace("{" + name + "}", value)
        body = None if self.body is None else json.dumps(self.body).encode()
        content = {} if body is None else JSON
        return Request(self.method, target, {**content, **(headers or {})}, body)


def _only(*methods: str) -> frozenset[str]:
    return frozenset(methods)


TOKEN_BODY = {"userId": "u", "role": "host"}
HLS = _only("GET", "HEAD", "OPTIONS")
ROUTES = (
    Route("POST", "/api/rooms", _only("GET", "POST"), {}),
    Route("GET", "/api/rooms", _only("GET", "POST")),
    Route("GET", "/api/rooms/{room}", _only("GET", "DELETE")),
    Route("DELETE", "/api/rooms/{room}", _only("GET", "DELETE")),
    Route("POST", "/api/rooms/{room}/start", _only("POST")),
    Route("POST", "/api/rooms/{room}/stop", _only("POST")),
    Route("GET", "/api/rooms/{room}/explain", _only("GET")),
    Route("POST", "/api/rooms/{room}/tokens", _only("POST"), TOKEN_BODY),
    Route("POST", "/api/rooms/{room}/revocations", _only("POST"), {"userId": "u"}),
    Route("GET", "/api/rooms/{room}/participants", _only("GET")),
    Route("POST", "/api/rooms/{room}/participants/{user}/mute", _only("POST")),
    Route("POST", "/api/rooms/{room}/participants/{user}/unmute", _only("POST")),
    Route("POST", "/api/rooms/{room}/participants/{user}/kick", _only("POST")),
    Route("GET", "/api/live", _only("GET")),
    Route("GET", "/api/modules", _only("GET")),
    Route("PUT", "/api/modules/{kind}/{module}/mark", _only("PUT"), {"mark": "ready"}),
    Route("POST", "/api/rooms/{room}/listen", _only("POST"), {}, open=True),
    Route("GET", "/api/rooms/{room}/key", HLS, open=True),
    Route("GET", "/hls/{room}/live.m3u8", HLS, open=True),
    Route("GET", "/hls/{room}/s_5_1.ts", HLS, open=True),
    Route("GET", "/healthz", _only("GET"), open=True),
    Route("GET", "/readyz", _only("GET"), open=True),
    Route("GET", "/metrics", _only("GET"), open=True),
    Route("GET", "/", _only("GET", "HEAD"), open=True),
    Route("GET", "/pages/config", _only("GET"), open=True),
    Route("GET", "/docs", _only("GET", "HEAD"), open=True),
    Route("GET", "/openapi.json", _only("GET", "HEAD"), open=True),
)

BAD_IDS = {
    "dots": "..",
    "dot": ".",
    "escaped dots": "%2e%2e",
    "escaped slash": "a%2Fb",
    "escaped slash, lower case": "a%2fb",
    "escaped twice": "a%252Fb",
    "traversal": "..%2f..%2f..%2fetc%2fpasswd",
    "backslash": "a%5Cb",
    "NUL": "a%00b",
    "65 characters": "a" * 65,
    "8,000 characters": "a" * 8000,
    "trailing newline": "a%0A",
    "newline and header": "a%0d%0aSet-Cookie:x=1",
    "Arabic digits": "%D9%A1%D9%A2",
    "look-alike": "%D0%B0bc",
    "bidi": "a%E2%80%AEb",
    "not UTF-8": "%ff%fe",
    "surrogate": "%ed%a0%80",
    "leading hyphen": "-a",
    "leading underscore": "_a",
    "space": "a%20b",
    "semicolon": "a;b",
    "percent alone": "a%",
    "half an escape": "a%2",
    "quote": "a%22%27%3Cscript%3E",
    "braces": "%7BroomId%7D",
    "at": "a@b",
    "plus": "a+b",
}
FINE_FOR_USERS = {"65 characters", "at", "plus"}


def ids() -> Iterator[Case]:
    for route in ROUTES:
        for part, wanted in (
            *(("room", "roomId"), ("kind", "kind"), ("module", "moduleId"), ("user", "userId")),
        ):
            if "{" + part + "}" not in route.path:
                continue
            name = f"{route.method} {route.path}"
            for what, value in BAD_IDS.items():
                if part == "user" and what in FINE_FOR_USERS:
                    continue
                request = route.request(ids={part: value})
                status, code = frozenset({422}), "invalid-request"
                yield Case(f"{name}: {part} {what}", request, status, code, field=wanted)
            for what, value in (("empty", ""), ("two segments", "a/b"), ("slash", "/")):
                yield Case(f"{name}: {part} {what}", route.request(ids={part: value}), NOT_FOUND)


NOT_FOUND = frozenset({404, 405})
BAD_ASSETS = (
    *(
        "",
        ".",
        "..",
        "../style.css",
        "..%2fstyle.css",
        "%2e%2e/%2e%2e/pyproject.toml",
        "lib",
        "lib/",
    ),
    *("/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "..%5c..%5cetc%5cpasswd", "style.css%00"),
    *("style.css%00.js", "style.css/", "style.css%0a", "STYLE.CSS", "package.json", "index.html"),
    *("vendor/update", "lib/../style.css", "lib%2fapi.js", "./style.css", "a" * 8000, "%ff%fe"),
)


def unknown() -> Iterator[Case]:
    """Well-formed names of what is not there."""
    for route in ROUTES:
        if "{" in route.path:
            request = route.request(ids={"room": "nobody"})
            yield Case(f"{route.method} {route.path}: unknown", request, frozenset({404}))
    for path in (
        *("/api", "/api/", "/api/rooms/", "/API/rooms", "/api/nothing", "/api//rooms"),
        *("/hls", "/hls/", "/hls/open", "/hls/open/", "/hls/open/live.m3u", "/.git/config"),
        *("/hls/open/s_5_1.ts.tmp", "/hls/open/key", "/hls/open/ffmpeg.log", "/hls/open/room.sdp"),
        *("/hls/open/s_%D9%A5_1.ts", "/hls/open/s_5_1.ts%0A", "/hls/open/s_5_1.ts%00"),
        *("/hls/open/..%2f..%2fkey", "/hls/open/%2e%2e", "/hls/open/s_99999999999999999999_1.ts"),
        *("/redoc", "/docs/oauth2-redirect", "/docs/../api", "/docs/%2e%2e%2fapi.py"),
        *("/index.html", "/studio", "/listen/", "/listen/open/", "/pages/", "/pages/config/x"),
        *("/assets", "/assets/", "/assets/0/style.css", "/assets/../style.css", "/web/style.css"),
        *(f"/assets/{'0' * 16}/{name}" for name in BAD_ASSETS),
        *("/healthz%0a", "/metrics%0A", "/openapi.json%0a", "/pages/config%0a", "/docs%0A", "/%0a"),
        *("/debug", "/static/../../etc/passwd", "/docs/swagger-ui.css.map", "/docs/x"),
    ):
        yield Case(f"GET {path}", Request("GET", path), frozenset({404}))


QUERIES = (
    ("POST", "/api/rooms/open/start", "wait", ("-1", "abc", "nan", "inf", "61", "1e9", "", "%00")),
    ("POST", "/api/rooms/open/start", "wait", ("%D9%A1", "1&wait=2", "0x1", "%ff", "1,5")),
    ("GET", "/api/rooms", "limit", ("0", "-1", "1e9", "201", "abc", "", "1.5", "9" * 5000)),
    ("GET", "/api/rooms", "limit", ("%D9%A1", "1&limit=2", "null", "1;2", "0x10")),
    ("GET", "/api/rooms", "cursor", ("", "%25", "%ff", "LQ", "Zm9vCg", "a" * 200, "Li4v", "%00")),
    ("GET", "/api/rooms", "cursor", ("b3Blbg&cursor=b3Blbg", "b3Blbg==x", "%C3%A9")),
    ("GET", "/api/rooms", "status", ("foo", "", "IDLE", "idle%0A", "idle&status=idle", "0")),
)


def queries() -> Iterator[Case]:
    for method, path, name, values in QUERIES:
        for value in values:
            request = Request(method, f"{path}?{name}={value}")
            said = f"{method} {path}?{name}={value[:40]}"
            yield Case(said, request, frozenset({422}), "invalid-request", field=name)
    for query in ("", "?nonce=", "?nonce=%00", "?nonce=" + "0" * 32, "?nonce=../x", "?nonce=%ff"):
        request = Request("GET", "/api/rooms/open/key" + query)
        yield Case(f"key{query}", request, frozenset({404}), "not-on-air")
    twice = Request("GET", f"/api/rooms/open/key?nonce={'0' * 32}&nonce={'1' * 32}")
    yield Case("key: two nonces", twice, frozenset({422}), "invalid-request", field="nonce")


def methods() -> Iterator[Case]:
    for path, allow in {route.path: route.allow for route in ROUTES}.items():
        found = next(r for r in ROUTES if r.path == path)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"):
            if method not in allow:
                request = replace(found.request(), method=method, body=None, headers={})
                yield Case(f"{method} {path}", request, frozenset({405}), allow=allow)
    for method in ("PROPFIND", "PURGE", "LOCK"):
        yield Case(f"{method} /api/rooms", Request(method, "/api/rooms"), frozenset({405}))


BAD_KEYS: dict[str, dict[str, str]] = {
    "no key": {},
    "wrong key": {"Authorization": "Bearer wrong"},
    "no value": {"Authorization": "Bearer"},
    "empty value": {"Authorization": "Bearer "},
    "empty": {"Authorization": ""},
    "basic": {"Authorization": "Basic b25haXI6b25haXI="},
    "scheme only, misspelt": {"Authorization": "Bear KEY"},
    "key without scheme": {"Authorization": "KEY"},
    "key with a tail": {"Authorization": "Bearer KEYx"},
    "two keys": {"Authorization": "Bearer x, Bearer KEY"},
    "not ASCII": {"Authorization": "Bearer \xff\xfe"},
    "8 KB": {"Authorization": "Bearer " + "k" * 8000},
    "key in another header": {"X-Api-Key": "KEY"},
}


def keys(api_key: str) -> Iterator[Case]:
    """401, whatever else is wrong: a stranger learns nothing of what there is."""
    for route in ROUTES:
        if route.open:
            continue
        for what, headers in BAD_KEYS.items():
            own = {k: v.replace("KEY", api_key) for k, v in headers.items()}
            name = f"{route.method} {route.path}: {what}"
            request = route.request(own)
            yield Case(name, request, frozenset({401}), "unauthorized", keyed=False)
        for what, bad in (
            ("bad id", route.request(ids=dict.fromkeys(GOOD_IDS, ".."))),
            ("unknown", route.request(ids={"room": "nobody"})),
            ("bad body", replace(route.request(), body=b"{", headers=JSON)),
            ("bad query", Request(route.method, f"{route.request().target!s}?limit=x")),
        ):
            name = f"{route.method} {route.path}: no key, {what}"
            yield Case(name, bad, frozenset({401}), "unauthorized", keyed=False)
    for what in (f"?api_key={api_key}", f"?token={api_key}", f"?access_token={api_key}"):
        request = Request("GET", "/api/rooms" + what)
        yield Case("key in the query", request, frozenset({401}), "unauthorized", keyed=False)

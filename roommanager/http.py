"""Around every request: its id, the access log, metrics, ids in raw paths, problems for all.

Plain ASGI. The access log has the path without its query: tokens stand there.
"""

import json
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import anyio
import structlog

from pkg.httpserver import App, Message, Receive, Scope, Send
from roommanager.metrics import Metrics
from roommanager.problems import MEDIA_TYPE, Answer

log = structlog.get_logger()


class Outermost:
    def __init__(self, app: App, metrics: Metrics, request_id: Callable[[], str]) -> None:
        self._app = app
        self._metrics = metrics
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request_id = self._request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        scope["path"] = route_path(scope.get("raw_path") or scope["path"].encode())
        started, status = anyio.current_time(), 0

        extra = [(b"x-request-id", request_id.encode()), *headers_for(scope["path"])]

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), *extra]
                message = {**message, "headers": headers}
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, stamped)
            finally:
                self._note(scope, status, anyio.current_time() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "DELETE"} else "other"
        self._metrics.requests.labels(method, str(status)).inc()
        self._metrics.seconds.labels(method).observe(seconds)
        log.debug(
            "http.request",
            method=method,
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
        )


def headers_for(path: str) -> list[tuple[bytes, bytes]]:
    """What every answer of the path carries, refusals too.

    Players on other origins may read the playlist, segments and key, and why there are none;
    no cookie opens anything here, so any origin may, and without credentials.

    >>> [len(headers_for(p)) for p in ("/hls/a/live.m3u8", "/api/rooms/a/key", "/api/rooms/a")]
    [3, 3, 1]
    """
    found = [(b"x-content-type-options", b"nosniff")]
    if path.startswith("/hls/") or (path.startswith("/api/rooms/") and path.endswith("/key")):
        found.append((b"access-control-allow-origin", b"*"))
        found.append((b"access-control-expose-headers", b"Retry-After"))
    return found


def route_path(raw: bytes) -> str:
    """Decode a path segment by segment: an escaped slash never makes a new segment.

    What was hidden behind %2F stays escaped and so fails the check of whatever id it is in,
    instead of reaching another route. So does a line end: the framework's patterns would pass
    over one at the end, and find what the address does not name.

    >>> route_path(b"/api/rooms/a%2Fb"), route_path(b"/api/rooms/%2e%2e"), route_path(b"/x%00")
    ('/api/rooms/a%2Fb', '/api/rooms/..', '/x\\x00')
    >>> route_path(b"/metrics%0a")
    '/metrics%0A'
    >>> route_path(b"/%ff")
    '/\\ufffd'
    """
    segments = (unquote_to_bytes(segment) for segment in raw.split(b"?")[0].split(b"/"))
    kept = (s.replace(b"/", b"%2F").replace(b"\n", b"%0A") for s in segments)
    return b"/".join(kept).decode("utf-8", "replace")


async def refuse(send: Send, status: int, detail: str) -> None:
    """Answer with a problem from outside the web framework; closes the connection."""
    code = {408: "body-too-slow", 413: "body-too-large"}[status]
    body = json.dumps(Answer(status, code, detail).document()).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

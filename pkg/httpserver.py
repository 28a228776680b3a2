"""Serve an ASGI app with limits the libraries do not set (facts.md «Python servers»).

uvicorn keeps half-sent requests open for ever and takes a body of any size. Here: a header must
be whole in 10 s and 32 KiB, a body in 10 s and 64 KiB, and connections are counted. Used by every
service that speaks HTTP; knows uvicorn, but no web framework.
"""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pkg.errors import ConfigError

HEADER_SECONDS = 10.0
BODY_SECONDS = 10.0
WRITE_SECONDS = 60.0
LINGER_SECONDS = 1.0
MAX_HEADER_BYTES = 32 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 8 * 1024 * 1024
MAX_CONNECTIONS = 4096
OTHER_FILES = 512  # what the process needs besides connections

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse: TypeAlias = Callable[[Send, int, str], Awaitable[None]]


class _HeaderTooLargeError(Exception):
    pass


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on a header's time and size, on readers, on connections.

    ``unheard`` holds, oldest first, the connections that have not sent a whole request: when
    there are too many connections, one of these makes room, never one that is being served.
    """

    unheard: ClassVar[dict["GuardedProtocol", None]]
    max_connections: ClassVar[int] = MAX_CONNECTIONS
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _parsed_bytes = 0
    _in_header = False
    _header_came = False
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            loser = next(iter(self.unheard), self)
            self.unheard.pop(loser, None)
            loser.transport.abort()
        self.unheard[self] = None
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self.resume_writing()
        self.unheard.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._header_bytes += len(data)
        self._header_came = False
        super().data_received(data)
        if self._header_timer is not None:
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(431, f"a header may have {MAX_HEADER_BYTES} bytes at most")
        elif self._awaits_header():
            self._start_header_timer()

    def _awaits_header(self) -> bool:
        """Also after line ends that begin no message."""
        if self._refused:
            return False
        return self._in_header or not (self._header_came or self._busy())

    def _busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def on_message_begin(self) -> None:
        self._in_header = True
        self._header_bytes = self._parsed_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._parsed(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed(len(name) + len(value))
        super().on_header(name, value)

    def _parsed(self, count: int) -> None:
        self._parsed_bytes += count
        if self._parsed_bytes > MAX_HEADER_BYTES:
            raise _HeaderTooLargeError

    def on_headers_complete(self) -> None:
        self.header_came()
        super().on_headers_complete()

    def header_came(self) -> None:
        self._in_header, self._header_came = False, True
        self._stop_header_timer()

    def on_message_complete(self) -> None:
        self.unheard.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.unheard[self] = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 uvicorn's words say less
        if self._parsed_bytes > MAX_HEADER_BYTES:
            self._refuse(431, f"a header may have {MAX_HEADER_BYTES} bytes at most")
        else:
            self._refuse(400, "this is no HTTP/1.1 request, or one of doubtful length")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what is no request, and read on for a moment: a reset would eat the answer."""
        self._refused = True
        self._stop_header_timer()
        if self._busy():
            self.cycle.disconnected = True  # what came of the request must not be obeyed
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        self.transport.write(_refusal(status, detail))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """The reader is slow: it gets a while to take what is ready for it."""
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _start_header_timer(self) -> None:
        """Only for a header that did not come in one piece: most do."""
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def _guarded(protocol: type[GuardedProtocol]) -> type[GuardedProtocol]:
    """A class for each server, since each has connections of its own."""
    fields = {"unheard": {}, "max_connections": _raise_file_limit()}
    return type("GuardedProtocol", (protocol,), fields)


def _raise_file_limit() -> int:
    """Let the process have the files it may have; answers how many may be connections.

    Many systems give 1,024 at first: fewer than an idle attacker opens.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if hard == resource.RLIM_INFINITY or soft < wanted <= hard:
        hard = wanted
    if soft < hard:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
        soft = hard
    return max(64, min(MAX_CONNECTIONS, soft - OTHER_FILES))


def _refusal(status: int, detail: str) -> bytes:
    """A problem document (RFC 9457) as bytes, for what never became a request."""
    phrase = HTTPStatus(status).phrase
    code = {400: "malformed-request", 431: "header-too-large"}[status]
    document = {
        "type": f"urn:onair:problem:{code}",
        "title": phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class _Server(uvicorn.Server):
    """Signals belong to ``pkg.lifecycle``; uvicorn must not take them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listen(address: str) -> socket.socket:
    """Bind ``host:port``. Raises ConfigError naming the address, so that start-up ends clearly."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        found.close()
        raise ConfigError(f"cannot listen on {address}: {error}") from None
    found.listen(2048)
    return found


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the certificate with its chain, and its key."""

    cert_file: Path
    key_file: Path


@asynccontextmanager
async def serving(
    app: App,
    bound: socket.socket,
    trusted_proxies: Sequence[str] = (),
    tls: Tls | None = None,
    protocol: type[GuardedProtocol] = GuardedProtocol,
) -> AsyncGenerator[None]:
    """Serve on a bound socket for as long as the block lasts; entered once it answers.

    Only the peers of ``trusted_proxies`` (addresses, networks) may say with X-Forwarded-For whom
    they speak for; uvicorn's default would take everybody's word on loopback.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=_guarded(protocol),
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            ssl_certfile=tls.cert_file if tls else None,
            ssl_keyfile=tls.key_file if tls else None,
        )
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_serve, server, bound)
        await server.up.wait()
        yield
        server.should_exit = True


async def _serve(server: uvicorn.Server, bound: socket.socket) -> None:
    await server.serve(sockets=[bound])


class BodyLimit:
    """ASGI middleware: the app sees only bodies that are whole, in time and small enough."""

    def __init__(self, app: App, refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body: bytes | None = None
        with anyio.move_on_after(BODY_SECONDS) as window:
            try:
                body = await _read(scope, receive)
            except _GoneError:
                return  # half a body is no body, even if it happens to parse
        if window.cancelled_caught:
            await self._refuse(send, 408, f"the body did not arrive within {BODY_SECONDS:.0f} s")
        elif body is None:
            await self._refuse(send, 413, f"a body may have {MAX_BODY_BYTES} bytes at most")
        else:
            await self._app(scope, _replay(body, receive), send)


class _GoneError(Exception):
    """The caller went away before the body was whole."""


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None if it is too large. Raises _GoneError."""
    headers = dict(scope["headers"])
    declared = int(headers.get(b"content-length", b"0")[:20])  # digits: the parser saw to it
    if declared > MAX_BODY_BYTES:
        if declared <= MAX_DISCARDED_BYTES and b"expect" not in headers:
            await _discard(receive)
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            await _discard(receive)
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _discard(receive: Receive) -> None:
    """Take what is still coming, within bounds: closing on it would reset the connection, and
    many clients would never see why."""
    size = 0
    with anyio.move_on_after(LINGER_SECONDS):
        while size < MAX_DISCARDED_BYTES:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay

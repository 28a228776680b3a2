"""Serve an ASGI app with limits the libraries do not set (facts.md «Python servers»).

uvicorn keeps half-sent requests open for ever and takes a body of any size. Here: a header must
be whole in 10 s, a body in 10 s and 64 KiB, and connections are counted. Used by every service
that speaks HTTP; knows uvicorn, but no web framework.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pkg.errors import ConfigError

HEADER_SECONDS = 10.0
BODY_SECONDS = 10.0
MAX_BODY_BYTES = 64 * 1024
MAX_CONNECTIONS = 4096

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse: TypeAlias = Callable[[Send, int, str], Awaitable[None]]


class _GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a clock on each header and a bound on connections."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._start_header_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        super().on_headers_complete()

    def _start_header_timer(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


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


@asynccontextmanager
async def serving(app: App, bound: socket.socket) -> AsyncGenerator[None]:
    """Serve on a bound socket for as long as the block lasts; entered once it answers."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_GuardedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=16 * 1024,
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
            body = await _read(scope, receive)
        if window.cancelled_caught:
            await self._refuse(send, 408, f"the body did not arrive within {BODY_SECONDS:.0f} s")
        elif body is None:
            await self._refuse(send, 413, f"a body may have {MAX_BODY_BYTES} bytes at most")
        else:
            await self._app(scope, _replay(body, receive), send)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None if it is too large."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay

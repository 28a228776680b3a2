"""uvicorn's protocol with a short way past ASGI, for the requests that come most (decision 0016).

A request that arrives whole, in one piece, on a connection where nothing is under way, is offered
to a ``Route`` before a task or a queue is made for it. The route takes it or leaves it; what it
leaves goes the ordinary way as if nothing had been. So all that is odd (slow, chunked, pipelined,
refused, for HTTP/1.0) is uvicorn's and the app's, and a route knows only how things go well.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from pkg.httpserver import GuardedProtocol
from streams.app.answer import EVERYWHERE, Answer, complete

_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_COMMON = b"".join(name + b": " + value + b"\r\n" for name, value in EVERYWHERE)


class Exchange(RequestResponseCycle):
    """One request and its answer: given here, or by the app after ``hand_over``.

    It is the very object uvicorn keeps for each request, so that disconnects, pipelining and a
    graceful stop treat it as any other. ``on_gone`` is called if the caller goes away.
    """

    def __init__(self, protocol: "DirectProtocol", body: bytes) -> None:
        super().__init__(
            scope=protocol.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=protocol.on_response_complete,
        )
        self._protocol = protocol
        self.method = protocol.parser.get_method()
        self.url = protocol.url
        self.fields = protocol.headers
        self.content = body
        self.on_gone: Callable[[], None] | None = None

    def leave(self) -> None:
        """The caller went away."""
        self.disconnected = True
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def answer(self, answer: Answer) -> None:
        self.on_gone = None
        if self.disconnected or self.transport.is_closing():
            return
        self.response_started = self.response_complete = True
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"".join((_STATUS[answer.status], self._protocol.common(), closing, _rest(answer)))
        )
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def hand_over(self) -> None:
        """Let the app answer, as if the request had come to it in the first place."""
        self.on_gone = None
        if self.disconnected:
            return
        path, _, query = self.url.partition(b"?")
        self.scope["method"] = self.method.decode("ascii")
        self.scope["path"] = unquote(path.decode("ascii"))
        self.scope["raw_path"], self.scope["query_string"] = path, query
        self.body, self.more_body = bytearray(self.content), False
        self.message_event.set()
        self._protocol.start(self)


def _rest(answer: Answer) -> bytes:
    """Headers of its own, and the body."""
    lines = [f"{name}: {value}\r\n" for name, value in complete(answer).items()]
    return "".join(lines).encode("latin-1") + b"\r\n" + answer.body


Route = Callable[[Exchange], bool]


class DirectProtocol(GuardedProtocol):
    """``route`` says whether it takes an exchange; then it answers it, now or later."""

    route: ClassVar[Route]
    methods: ClassVar[frozenset[bytes]] = frozenset((b"POST", b"GET"))
    _held: list[bytes] | None = None  # the body of a request that may be taken
    _whole = False
    _taken: Exchange | None = None
    _known: tuple[object, bytes] = (None, b"")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held is None:
            return
        if self._refused:
            self._held = None  # what came of it must not be obeyed
        elif self._whole:
            self._offer(b"".join(self._held))
        else:
            self._ordinary()

    def on_message_begin(self) -> None:
        if self._held is not None:
            self._ordinary()  # the next request came with it
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._is_plain():
            self._held, self._whole = [], False
            self.header_came()
        else:
            super().on_headers_complete()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() in self.methods
            and not self._busy()
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
        )

    def on_body(self, body: bytes) -> None:
        if self._held is not None:
            self._held.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._held is not None:
            self._whole = True
        else:
            super().on_message_complete()

    def _ordinary(self) -> None:
        """What uvicorn would have made of it."""
        held, self._held = self._held or [], None
        super().on_headers_complete()
        for part in held:
            super().on_body(part)
        if self._whole:
            super().on_message_complete()

    def _offer(self, body: bytes) -> None:
        before, exchange = self.cycle, Exchange(self, body)
        self.cycle = exchange
        if type(self).route(exchange):
            self._held, self._taken = None, exchange
            self.unheard.pop(self, None)
        else:
            self.cycle = before
            self._ordinary()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._taken is not None:
            self._taken.leave()

    def start(self, exchange: Exchange) -> None:
        self._start_asgi_task(exchange, self.app)

    def common(self) -> bytes:
        """What every answer has; uvicorn makes a new list when the date changes."""
        headers = self.server_state.default_headers
        if self._known[0] is not headers:
            lines = [name + b": " + value + b"\r\n" for name, value in headers]
            type(self)._known = (headers, b"".join(lines) + _COMMON)
        return self._known[1]


def direct(found: Route) -> type[DirectProtocol]:
    """The protocol of one server."""
    return type("DirectProtocol", (DirectProtocol,), {"route": staticmethod(found)})

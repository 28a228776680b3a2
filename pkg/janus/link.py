"""One WebSocket to Janus: many requests in flight, matched to replies by transaction.

A link lives as long as its socket and never reconnects; who opened it opens the next one.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException
from websockets.protocol import State
from websockets.typing import Subprotocol

from pkg.janus import wire
from pkg.janus.wire import Body, JanusUnavailableError, MalformedReplyError, Reply

log = structlog.get_logger()

OnEvent: TypeAlias = Callable[[Body], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection, in seconds, bytes and requests.

    ``ping_seconds``: a Janus that is frozen or unreachable is noticed within twice that.
    """

    deadline: float = 3.0
    in_flight: int = 64
    message_bytes: int = 4 << 20  # a list of 10,000 rooms, indented
    ping_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """A server of Janus's. ``expected`` and ``advice`` end up in the words of a failure.

    ``credentials`` go into every message.
    """

    url: str
    protocol: Subprotocol
    expected: str
    advice: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: Body
    reply: asyncio.Future[Reply]


class Link:
    """Requests over one socket. ``read`` must run beside them, and ends with the socket.

    ``on_event`` hears what Janus says unasked; it must neither wait nor raise. It may be another
    one later.
    """

    def __init__(
        self,
        socket: ClientConnection,
        credentials: Mapping[str, str],
        limits: Limits,
        on_event: OnEvent | None = None,
    ) -> None:
        self._socket = socket
        self._credentials = credentials
        self._deadline = limits.deadline
        self._slots = anyio.Semaphore(limits.in_flight)
        self.on_event = on_event
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}
        self._end: str | None = None  # why no reply will come any more

    async def request(self, request: Body) -> Reply:
        """Send and wait, within the deadline all in all. Raises JanusUnavailableError."""
        try:
            with anyio.fail_after(self._deadline):
                async with self._slots:
                    return await self._exchange(request)
        except TimeoutError:
            raise JanusUnavailableError(
                f"Janus did not answer within {self._deadline} s; it may still act on the request"
            ) from None

    async def _exchange(self, request: Body) -> Reply:
        if self._end is not None:
            raise JanusUnavailableError(self._end)
        transaction = str(next(self._numbers))
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = _Waiting(request, reply)
        try:
            await self._socket.send(wire.write(request, transaction, self._credentials))
            return await reply
        except ConnectionClosed as error:
            raise JanusUnavailableError(_closing_words(error)) from None
        finally:
            del self._waiting[transaction]
            if reply.done() and not reply.cancelled():
                reply.exception()  # if sending failed, nobody awaited it: it is no news

    async def read(self) -> str:
        """Hand out replies until the socket ends; answers why. Requests still waiting fail.

        Cancelled, it may be called again, by whoever has the link then: nothing is lost.
        """
        end = "the connection to Janus ended"
        try:
            async for text in self._socket:
                self._deliver(text)
            self._end = end
        except ConnectionClosed as error:
            self._end = end = _closing_words(error)
        finally:
            self._fail_waiting(end)
        return end

    def _fail_waiting(self, end: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.reply.done():
                waiting.reply.set_exception(JanusUnavailableError(end))

    def _deliver(self, text: str | bytes) -> None:
        try:
            message = wire.read(text)
            if self.on_event is not None and "transaction" not in message:
                self.on_event(message)
            else:
                self._hand_out(message)
        except MalformedReplyError as error:
            log.warning("janus.reply_malformed", error=str(error))

    def _hand_out(self, message: Body) -> None:
        reply = wire.reply_of(message)
        waiting = self._waiting.get(reply.transaction)
        if waiting is None or waiting.reply.done():  # it came after its deadline
            return
        if not wire.is_promise(message, waiting.request):
            waiting.reply.set_result(reply)

    @property
    def is_open(self) -> bool:
        """As far as is known, also while nobody reads."""
        return self._socket.state is State.OPEN

    async def close(self) -> None:
        """Also of who is cancelled, else the transport leaks; takes close_timeout at most."""
        with anyio.CancelScope(shield=True):
            await self._socket.close()


class DirectConnect(connect):
    """Follows no redirect: whoever has a Janus's port could send us, and our secrets, anywhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def opened(
    address: Address, limits: Limits, on_event: OnEvent | None = None
) -> AsyncGenerator[Link]:
    """Connect; raises JanusUnavailableError in words that say what to check."""
    link = await connected(address, limits, on_event)
    try:
        yield link
    finally:
        await link.close()


async def connected(address: Address, limits: Limits, on_event: OnEvent | None = None) -> Link:
    """A link that its holder closes. Raises JanusUnavailableError, as ``opened``."""
    try:
        socket = await DirectConnect(
            address.url,
            subprotocols=[address.protocol],
            compression=None,
            proxy=None,
            open_timeout=limits.deadline,
            close_timeout=1.0,
            ping_interval=limits.ping_seconds,
            ping_timeout=limits.ping_seconds,
            max_size=limits.message_bytes,
        )
    except (OSError, TimeoutError, WebSocketException, ValueError, OverflowError) as error:
        raise JanusUnavailableError(_connecting_words(address, error)) from None
    return Link(socket, address.credentials, limits, on_event)


def _connecting_words(address: Address, error: Exception) -> str:
    match error:
        case InvalidHandshake() | InvalidURI():
            problem = f"is no {address.expected}"
        case TimeoutError():
            problem = "did not answer in time"
        case _:
            problem = "cannot be reached"
    return f"{address.url} {problem}: {error}; {address.advice}"


def _closing_words(error: ConnectionClosed) -> str:
    return f"the connection to Janus ended: {error}"

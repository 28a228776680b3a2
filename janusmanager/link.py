"""One admin WebSocket to Janus: many requests in flight, matched to replies by transaction.

A link lives as long as its socket and never reconnects; ``driver`` opens the next one.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from janusmanager import messages
from janusmanager.api import JanusUnavailableError
from janusmanager.messages import Body, MalformedReplyError, Reply

log = structlog.get_logger()

ADMIN_PROTOCOL = Subprotocol("janus-admin-protocol")


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
class Access:
    """Where the admin API is, and what it asks for."""

    url: str
    admin_secret: str = field(repr=False)
    admin_key: str = field(repr=False)


class Link:
    """Requests over one socket. ``read`` must run beside them, and ends with the socket."""

    def __init__(self, socket: ClientConnection, admin_secret: str, limits: Limits) -> None:
        self._socket = socket
        self._admin_secret = admin_secret
        self._deadline = limits.deadline
        self._slots = anyio.Semaphore(limits.in_flight)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
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
        self._waiting[transaction] = reply
        try:
            await self._socket.send(messages.envelope(request, transaction, self._admin_secret))
            return await reply
        except ConnectionClosed as error:
            raise JanusUnavailableError(_closing_words(error)) from None
        finally:
            del self._waiting[transaction]
            if reply.done() and not reply.cancelled():
                reply.exception()  # if sending failed, nobody awaited it: it is no news

    async def read(self) -> str:
        """Hand out replies until the socket ends; answers why. Requests still waiting fail."""
        end = "the connection to Janus ended"
        try:
            async for text in self._socket:
                self._deliver(text)
        except ConnectionClosed as error:
            end = _closing_words(error)
        finally:
            self._fail_waiting(end)
        return end

    def _fail_waiting(self, end: str) -> None:
        self._end = end
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(JanusUnavailableError(end))

    def _deliver(self, text: str | bytes) -> None:
        try:
            reply = messages.read_reply(text)
        except MalformedReplyError as error:
            log.warning("janus.reply_malformed", error=str(error))
            return
        waiting = self._waiting.get(reply.transaction)
        if waiting is not None and not waiting.done():  # else: it came after its deadline
            waiting.set_result(reply)

    async def close(self) -> None:
        await self._socket.close()


@asynccontextmanager
async def opened(access: Access, limits: Limits) -> AsyncGenerator[Link]:
    """Connect; raises JanusUnavailableError in words that say what to check."""
    try:
        socket = await connect(
            access.url,
            subprotocols=[ADMIN_PROTOCOL],
            compression=None,
            proxy=None,
            open_timeout=limits.deadline,
            close_timeout=1.0,
            ping_interval=limits.ping_seconds,
            ping_timeout=limits.ping_seconds,
            max_size=limits.message_bytes,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        raise JanusUnavailableError(_connecting_words(access.url, error)) from None
    try:
        yield Link(socket, access.admin_secret, limits)
    finally:
        with anyio.CancelScope(
            shield=True
        ):  # else the transport leaks; takes close_timeout at most
            await socket.close()


def _connecting_words(url: str, error: Exception) -> str:
    match error:
        case InvalidHandshake() | InvalidURI():
            problem = (
                "is no Janus admin WebSocket (see admin_ws in janus.transport.websockets.jcfg)"
            )
        case TimeoutError():
            problem = "did not answer in time"
        case _:
            problem = "cannot be reached"
    return f"{url} {problem}: {error}; is ONAIR_JANUS_MANAGER_ADMIN_URL right, and Janus running?"


def _closing_words(error: ConnectionClosed) -> str:
    return f"the connection to Janus ended: {error}"

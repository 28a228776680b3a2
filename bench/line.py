"""One WebSocket to a gateway and JSON-RPC on it (docs/gateway.md), as web/lib/gateway.js does it.

It never reconnects: ``host`` opens the next one.
"""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any, Self

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from pkg.errors import OnairError

PROTOCOL = "onair.v1"
OPEN_SECONDS = ANSWER_SECONDS = 15.0
CLOSE_SECONDS = 1.0
BROKEN = 1006  # RFC 6455, section 7.1.5: it ended without a close frame

Message = dict[str, Any]
Told = Callable[[str, Message], None]  # method, params


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel and wait. Plain tasks, as a task group's scope must not outlive ``__aenter__``."""
    task.cancel()
    await asyncio.wait([task])


class RefusedError(OnairError):
    """The gateway answered with an error. ``code``: as docs/gateway.md has them, such as -32010."""

    def __init__(self, code: int, message: str, detail: str) -> None:
        super().__init__(f"{message}: {detail}")
        self.code, self.message = code, message


class ClosedError(OnairError):
    """The connection is over, or never was. ``code``: as docs/gateway.md has them, 1006 if it
    broke; or the status of a handshake that was refused."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code


class Line:
    """``opened`` it; ``closed`` is set once it ended, for whatever reason, ``code`` says which."""

    def __init__(self, socket: ClientConnection, told: Told) -> None:
        self.closed = anyio.Event()
        self.code: int | None = None
        self.reason = ""
        self._socket = socket
        self._told = told
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def opened(cls, url: str, token: str, told: Told, *, takeover: bool = False) -> Self:
        """``told`` hears of notifications, and must not wait. Raises ClosedError."""
        bearer = Subprotocol(f"bearer.{token}")
        try:
            socket = await connect(
                f"{url}?takeover=1" if takeover else url,
                subprotocols=[Subprotocol(PROTOCOL), bearer],
                compression=None,
                proxy=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None,
            )
        except InvalidStatus as error:
            raise ClosedError(error.response.status_code, "handshake refused") from None
        except (OSError, TimeoutError, EOFError, ConnectionClosed) as error:
            raise ClosedError(BROKEN, str(error)) from None
        return cls(socket, told)

    async def ask(self, method: str, **params: Any) -> Any:
        """The result. Raises RefusedError, ClosedError, TimeoutError."""
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                await self._send(json.dumps(request))
                answer = await future
        finally:
            del self._waiting[number]
        if error := answer.get("error"):
            raise RefusedError(error["code"], error["message"], error["data"]["detail"])
        return answer["result"]

    async def close(self) -> None:
        """Without a farewell to the room: the gateway takes care of that."""
        await self._socket.close()
        await ended(self._reader)

    def abort(self) -> None:
        """As a machine does that is switched off."""
        self._socket.transport.abort()

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            await self.closed.wait()
            raise self._over() from None

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self._end()

    def _take(self, message: Message) -> None:
        if "method" in message:
            self._told(message["method"], message["params"])
            return
        waiting = self._waiting.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _end(self) -> None:
        code = self._socket.close_code
        self.code, self.reason = code or BROKEN, self._socket.close_reason or ""
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._over())

    def _over(self) -> ClosedError:
        return ClosedError(self.code or BROKEN, self.reason)

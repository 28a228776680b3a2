"""A host's WebSocket, as the ``websockets`` library serves it, and what the library leaves open.

It bounds neither how many sockets say nothing, nor what an answered ping may pile up before a
host who never reads. ``unheard`` holds, oldest first, the sockets whose request has not come: when
there are too many, the oldest makes room; no host is disturbed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import anyio
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from pkg.tokens import Grant
from wsgateway.connection import MAX_QUEUED_BYTES
from wsgateway.exchange import End
from wsgateway.limits import HALF_OPEN
from wsgateway.lock import Claim

CLOSE_SECONDS = 2.0


@dataclass(slots=True)
class Guest:
    """Who came through the handshake. ``refused``: not to stay, and to be told so."""

    grant: Grant
    claim: Claim
    refused: End | None = None

    def lose(self) -> None:
        """Taken over before it was served."""
        self.refused = End.TAKEN_OVER


class ServedSocket(ServerConnection):
    """``on_lost`` are called when the socket is gone, whatever became of the handshake."""

    unheard: ClassVar[dict["ServedSocket", None]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guest: Guest | None = None
        self.on_lost: list[Callable[[], None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.unheard[self] = None
        if len(self.unheard) > HALF_OPEN:
            oldest = next(iter(self.unheard))
            self.unheard.pop(oldest)
            oldest.transport.abort()

    def heard(self) -> None:
        self.unheard.pop(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard()
        super().connection_lost(exc)
        for tell in self.on_lost:
            tell()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > 2 * MAX_QUEUED_BYTES:  # pongs nobody reads
            self.transport.abort()


def served_sockets() -> type[ServedSocket]:
    """A class for each server, since each has sockets of its own."""
    return type("ServedSocket", (ServedSocket,), {"unheard": {}})


class HostSocket:
    """Implements ``api.Socket``."""

    def __init__(self, served: ServedSocket) -> None:
        self._served = served

    def push(self, text: str) -> int:
        broadcast((self._served,), text)
        return self._served.transport.get_write_buffer_size()

    async def frames(self) -> AsyncGenerator[str | bytes]:
        try:
            while True:
                yield await self._served.recv()
        except ConnectionClosed:
            return

    async def close(self, code: int, reason: str) -> None:
        with anyio.move_on_after(CLOSE_SECONDS) as window:
            await self._served.close(code, reason)
        if window.cancelled_caught:
            self._served.transport.abort()

"""A host's WebSocket, as the ``websockets`` library serves it, and what the library leaves open.

It bounds neither how many sockets say nothing, nor what an answered ping may pile up before a
host who never reads, nor how many frames hold nothing: pings, and parts of a message that does not
end. ``unheard`` holds, oldest first, the sockets whose request has not come: when
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
from websockets.frames import Frame
from websockets.protocol import Event

from pkg.tokenbucket import Bucket
from pkg.tokens import Grant
from wsgateway.connection import MAX_QUEUED_BYTES
from wsgateway.exchange import End
from wsgateway.limits import HALF_OPEN
from wsgateway.lock import Claim
from wsgateway.rules import CLOSE

CLOSE_SECONDS = 2.0
# Of any kind. A message of 64 KiB may come in parts, of which rules.CLOSE counts the whole.
FRAMES_PER_SECOND, FRAMES_BURST = 200.0, 2000
SLICE_BYTES = 4096  # taken in at a time: one read may bring 40,000 pings


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
    """``peer``: its address, also once it is gone."""

    unheard: ClassVar[dict["ServedSocket", None]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guest: Guest | None = None
        self.peer = ""
        self.is_lost = False
        self._on_lost: list[Callable[[], None]] = []
        self._frames = Bucket(FRAMES_PER_SECOND, FRAMES_BURST)
        self._is_flooded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""
        self.unheard[self] = None
        if len(self.unheard) > HALF_OPEN:
            oldest = next(iter(self.unheard))
            self.unheard.pop(oldest)
            oldest.transport.abort()

    def heard(self) -> None:
        self.unheard.pop(self, None)

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call it when the socket is gone, whatever became of the handshake; at once if it is:
        who hangs up right after his request is gone before it is looked at."""
        if self.is_lost:
            tell()
        else:
            self._on_lost.append(tell)

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard()
        self.is_lost = True
        super().connection_lost(exc)
        for tell in self._on_lost:
            tell()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if not self._is_flooded:
                super().data_received(data[start : start + SLICE_BYTES])
        if self.transport.get_write_buffer_size() > 2 * MAX_QUEUED_BYTES:  # pongs nobody reads
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and self._frames.take(anyio.current_time()):
            self._flood()
        elif not self._is_flooded:
            super().process_event(event)

    def _flood(self) -> None:
        """What else it sends is not looked at."""
        if not self._is_flooded:
            self._is_flooded = True
            closing = CLOSE[End.TOO_FAST]
            self.protocol.fail(closing.code, closing.words)
            self.send_data()
            self.transport.close()


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

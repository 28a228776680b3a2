"""A Janus's WebSocket that says whatever a test wants."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from pkg.model import Epoch
from wsgateway.exchange import Place


def said(**data: Any) -> dict[str, Any]:
    """An event of the AudioBridge's, of handle 2."""
    return {"janus": "event", "sender": 2, "plugindata": {"data": data}}


@asynccontextmanager
async def janus(serves: Callable[[ServerConnection], Awaitable[None]]) -> AsyncGenerator[Place]:
    """A room of it; ``serves`` is called for each socket."""
    protocol = Subprotocol("janus-protocol")
    async with serve(serves, "127.0.0.1", 0, subprotocols=[protocol]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Place(f"ws://127.0.0.1:{port}", 1, Epoch(1), "pin", "secret")

"""One admin WebSocket: what its end leaves behind. The rest is in the driver's contract."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from janusmanager import messages
from janusmanager.api import JanusUnavailableError
from janusmanager.link import Limits, Link

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The link's replies are asyncio's futures."""
    return "asyncio"


class ClosingSocket:
    """Ends while something is being sent: the reader hears of it before the sender does."""

    def __init__(self) -> None:
        self.sending = asyncio.Event()
        self.closed = asyncio.Event()

    async def send(self, _: str) -> None:
        self.sending.set()
        await self.closed.wait()
        raise ConnectionClosedError(None, None)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        await self.sending.wait()
        raise ConnectionClosedError(None, None)


async def test_a_request_that_meets_the_end_while_it_is_sent_fails_once() -> None:
    loop, unheard = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    socket = ClosingSocket()
    link = Link(cast(ClientConnection, socket), "secret", Limits())

    async def ask() -> None:
        with pytest.raises(JanusUnavailableError, match="connection to Janus ended"):
            await link.request(messages.core("ping"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await link.read()
        socket.closed.set()
    gc.collect()
    assert unheard == []

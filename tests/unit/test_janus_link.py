"""One WebSocket to Janus: what its end leaves behind, what comes unasked, who it does not follow.

The rest is in the contracts of the two drivers.
"""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest
import websockets.asyncio.server as websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from pkg.janus.link import Address, Limits, Link, opened
from pkg.janus.wire import Body, JanusUnavailableError
from pkg.lifecycle import background
from tests.support.janus import PATIENT

pytestmark = pytest.mark.anyio

PROTOCOL = Subprotocol("janus-protocol")


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
    link = Link(cast(ClientConnection, socket), {}, Limits())

    async def ask() -> None:
        with pytest.raises(JanusUnavailableError, match="connection to Janus ended"):
            await link.request({"janus": "ping"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await link.read()
        socket.closed.set()
    gc.collect()
    assert unheard == []


# --- a Janus that says what the test wants ---


@asynccontextmanager
async def linked(
    serve: Callable[[ServerConnection], Awaitable[None]], heard: list[Body] | None = None
) -> AsyncIterator[Link]:
    async with websockets.serve(serve, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as server:
        port = server.sockets[0].getsockname()[1]
        on_event = None if heard is None else heard.append
        async with (
            opened(address(port), PATIENT, on_event) as link,
            background(link.read),
        ):
            yield link


def address(port: int) -> Address:
    return Address(f"ws://127.0.0.1:{port}", PROTOCOL, "Janus", "is it running?", {"k": "secret"})


async def test_an_ack_is_the_answer_only_where_nothing_follows() -> None:
    async def serve(socket: ServerConnection) -> None:
        async for text in socket:
            number = json.loads(text)["transaction"]
            await socket.send(json.dumps({"janus": "ack", "transaction": number}))
            if number == "1":
                await socket.send(json.dumps({"janus": "event", "transaction": number, "n": 1}))

    async with linked(serve) as link:
        assert (await link.request({"janus": "message"})).body["n"] == 1
        assert (await link.request({"janus": "keepalive"})).body["janus"] == "ack"


async def test_an_event_may_come_before_its_ack_and_others_between() -> None:
    """As Janus 1.1.2 does when its plugin is quick."""
    said = [
        {"janus": "event", "n": "unasked"},
        {"janus": "event", "transaction": "1", "n": "answer"},
        {"janus": "ack", "transaction": "1"},
        ["no object"],
        {"janus": "webrtcup"},
        {"janus": "success", "transaction": "2"},
    ]

    async def serve(socket: ServerConnection) -> None:
        await socket.recv()
        for message in said[:-1]:
            await socket.send(json.dumps(message))
        await socket.recv()
        await socket.send(json.dumps(said[-1]))

    heard: list[Body] = []
    async with linked(serve, heard) as link:
        assert (await link.request({"janus": "message"})).body["n"] == "answer"
        assert (await link.request({"janus": "detach"})).failure is None
    assert [event["janus"] for event in heard] == ["event", "webrtcup"]


async def test_no_redirect_is_followed() -> None:
    """It would carry the admin secret to whomever it names."""
    asked: list[str] = []

    async def serve(socket: ServerConnection) -> None:
        asked.append(str(await socket.recv()))

    async with websockets.serve(serve, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as there:
        target = f"ws://127.0.0.1:{there.sockets[0].getsockname()[1]}/"

        def redirect(_: ServerConnection, __: Request) -> Response:
            return Response(302, "Found", Headers({"Location": target}))

        async with websockets.serve(serve, "127.0.0.1", 0, process_request=redirect) as here:
            with pytest.raises(JanusUnavailableError, match="is no Janus"):
                async with opened(address(here.sockets[0].getsockname()[1]), PATIENT):
                    pass
    assert asked == []


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:1", "ws://127.0.0.1:99999", "ws://[::1", "ws://a..b:1", "ws://\0"]
)
async def test_an_address_that_is_none_is_unavailable(url: str) -> None:
    with pytest.raises(JanusUnavailableError):
        async with opened(replace(address(1), url=url), PATIENT):
            pass

"""A host's way into Janus, when Janus does something odd on it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from pkg.model import Epoch
from wsgateway.exchange import Enter, EntryFailed, Place
from wsgateway.janus import JanusBridge

pytestmark = pytest.mark.anyio

STALE = {"id": 8, "display": '{"u":"ann"}', "setup": True, "muted": False}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _said(**data: Any) -> dict[str, Any]:
    return {"janus": "event", "sender": 2, "plugindata": {"data": data}}


async def _destroy_while_joined(socket: ServerConnection) -> None:
    """A participant of ann's is there already, and the room goes while she joins."""
    async for text in socket:
        request = json.loads(text)
        body = request.get("body", {})
        answer: dict[str, Any] = {"janus": "success", "data": {"id": 2}}
        if body.get("request") == "join":
            await socket.send(json.dumps(_said(audiobridge="destroyed", room=1)))
            answer = _said(audiobridge="joined", room=1, id=9, participants=[STALE])
        await socket.send(json.dumps(answer | {"transaction": request["transaction"]}))


@asynccontextmanager
async def janus() -> AsyncGenerator[Place]:
    protocol = Subprotocol("janus-protocol")
    async with serve(_destroy_while_joined, "127.0.0.1", 0, subprotocols=[protocol]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Place(f"ws://127.0.0.1:{port}", 1, Epoch(1), "pin", "secret")


async def test_a_room_that_is_destroyed_while_a_host_enters_is_a_failed_entry() -> None:
    async with janus() as place, asyncio.timeout(30), anyio.create_task_group() as tasks:
        bridge = JanusBridge(tasks, lambda _: None)
        entry = await bridge.enter(Enter(1, place, "ann", None, muted=False))
        assert isinstance(entry, EntryFailed)
        assert "destroyed" in entry.words
        await bridge.exit()

"""A host's way into Janus, when Janus does something odd on it."""

import asyncio
import json
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.janus_socket import janus, said
from wsgateway.exchange import Enter, Entered, EntryFailed, Event
from wsgateway.janus import JanusBridge
from wsgateway.spares import Spares

pytestmark = pytest.mark.anyio

STALE = {"id": 8, "display": '{"u":"ann"}', "setup": True, "muted": False}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _destroy_while_joined(socket: ServerConnection) -> None:
    """A participant of ann's is there already, and the room goes while she joins."""
    async for text in socket:
        request = json.loads(text)
        body = request.get("body", {})
        answer: dict[str, Any] = {"janus": "success", "data": {"id": 2}}
        if body.get("request") == "join":
            await socket.send(json.dumps(said(audiobridge="destroyed", room=1)))
            answer = said(audiobridge="joined", room=1, id=9, participants=[STALE])
        await socket.send(json.dumps(answer | {"transaction": request["transaction"]}))


class Busy:
    """Takes one thing after the other, and a long time for a join: until ``free``."""

    def __init__(self) -> None:
        self.busy, self.free, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, socket: ServerConnection) -> None:
        async for text in socket:
            request = json.loads(text)
            answer: dict[str, Any] = {"janus": "success", "data": {"id": 2}}
            if request.get("body", {}).get("request") == "join":
                self.busy.set()
                await self.free.wait()
                answer = said(audiobridge="joined", room=1, id=9, participants=[])
            await socket.send(json.dumps(answer | {"transaction": request["transaction"]}))
        self.closed.set()


async def test_a_room_that_is_destroyed_while_a_host_enters_is_a_failed_entry() -> None:
    async with (
        janus(_destroy_while_joined) as place,
        asyncio.timeout(30),
        anyio.create_task_group() as tasks,
    ):
        bridge = JanusBridge(tasks, lambda _: None, Spares())
        entry = await bridge.enter(Enter(1, place, "ann", None, muted=False))
        assert isinstance(entry, EntryFailed)
        assert "destroyed" in entry.words
        await bridge.exit()


async def test_a_session_does_not_end_before_its_join_is_answered() -> None:
    """Janus 1.1.2 crashes then, and takes all its rooms with it (docs/decisions/0013)."""
    busy = Busy()
    async with janus(busy) as place, asyncio.timeout(30), anyio.create_task_group() as tasks:
        bridge = JanusBridge(tasks, lambda _: None, Spares())
        async with anyio.create_task_group() as entering:
            entering.start_soon(bridge.enter, Enter(1, place, "ann", None, muted=False))
            await busy.busy.wait()
            entering.cancel_scope.cancel()
        await bridge.exit()
        assert not busy.closed.is_set()
        busy.free.set()
        await busy.closed.wait()


async def test_what_janus_says_to_one_who_has_gone_starts_nothing() -> None:
    """What stood in the socket's buffer is still read: it ended the connection with an error."""
    free = Busy()
    free.free.set()
    async with janus(free) as place, asyncio.timeout(30), anyio.create_task_group() as tasks:
        bridge = JanusBridge(tasks, lambda _: None, Spares())
        assert isinstance(await bridge.enter(Enter(1, place, "ann", None, muted=False)), Entered)
        stay = bridge._stay
        await bridge.exit()
        assert stay is not None
        stay.hear({"janus": "hangup", "sender": 2, "reason": "ICE failed"})


class Forgetful:
    """Answers everything but the first keepalive."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, socket: ServerConnection) -> None:
        async for text in socket:
            request = json.loads(text)
            answer: dict[str, Any] = {"janus": "success", "data": {"id": 2}}
            if request.get("body", {}).get("request") == "join":
                answer = said(audiobridge="joined", room=1, id=9, participants=[])
            if request["janus"] == "keepalive":
                self.asked += 1
                answer = {"janus": "ack"}
                if self.asked == 1:
                    continue
            await socket.send(json.dumps(answer | {"transaction": request["transaction"]}))


@pytest.mark.timeout(120)
async def test_one_keepalive_without_an_answer_costs_nobody_his_place() -> None:
    """Whoever is late, Janus or a busy gateway; in real time, for the line is real."""
    told: list[Event] = []
    serves = Forgetful()
    async with janus(serves) as place, anyio.create_task_group() as tasks:
        bridge = JanusBridge(tasks, told.append, Spares())
        assert isinstance(await bridge.enter(Enter(1, place, "ann", None, muted=False)), Entered)
        with anyio.fail_after(60):
            while serves.asked < 2:
                await anyio.sleep(0.1)
        assert told == []
        await bridge.exit()
        tasks.cancel_scope.cancel()

"""Sessions that stand ready at a Janus: few, for a while, and as good as one made on the way in."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.janus_socket import janus, said
from wsgateway.exchange import Enter, Entered, Place
from wsgateway.janus import JanusBridge
from wsgateway.spares import LIFE_SECONDS, PER_JANUS, Spares

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Sockets:
    """Answers everything. ``asked``: what came by each socket; ``open``: those that stand."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.open: list[ServerConnection] = []

    async def __call__(self, socket: ServerConnection) -> None:
        asked = list[str]()
        self.asked.append(asked)
        self.open.append(socket)
        async for text in socket:
            request = json.loads(text)
            verb = request.get("body", {}).get("request") or request["janus"]
            asked.append(verb)
            answer: dict[str, Any] = {"janus": "success", "data": {"id": 2}}
            if verb == "join":
                answer = said(audiobridge="joined", room=1, id=9, participants=[])
            await socket.send(json.dumps(answer | {"transaction": request["transaction"]}))
        self.open.remove(socket)

    async def closed(self) -> None:
        with anyio.fail_after(LIFE_SECONDS + 30):
            while self.open:
                await anyio.sleep(0.005)


MADE = ["create", "attach"]


async def stand(spares: Spares, count: int) -> None:
    with anyio.fail_after(30):
        while len(spares) != count:
            await anyio.sleep(0.005)


@asynccontextmanager
async def scene() -> AsyncGenerator[tuple[Sockets, Place, Spares, JanusBridge]]:
    sockets, spares = Sockets(), Spares()
    async with (
        janus(sockets) as place,
        spares.running(),
        anyio.create_task_group() as tasks,
    ):
        bridge = JanusBridge(tasks, lambda _: None, spares)
        yield sockets, place, spares, bridge
        await bridge.exit()


async def enter(bridge: JanusBridge, place: Place) -> None:
    entry = await bridge.enter(Enter(1, place, "ann", None, muted=False))
    assert isinstance(entry, Entered), entry


async def test_who_finds_one_only_joins_and_another_takes_its_place() -> None:
    async with scene() as (sockets, place, spares, bridge):
        spares.expect(place.url)
        await stand(spares, 1)
        await enter(bridge, place)
        await stand(spares, 1)
        assert sockets.asked == [[*MADE, "join"], MADE]


async def test_who_finds_none_makes_his_own() -> None:
    async with scene() as (sockets, place, _, bridge):
        await enter(bridge, place)
        assert sockets.asked == [[*MADE, "join"]]


async def test_a_crowd_finds_no_more_than_a_few() -> None:
    async with scene() as (sockets, place, spares, _):
        for _ in range(100):
            spares.expect(place.url)
        await stand(spares, PER_JANUS)
        assert sockets.asked == [MADE] * PER_JANUS


async def test_one_that_nobody_wants_is_closed_and_none_takes_its_place() -> None:
    """In real time, for the line is real."""
    async with scene() as (sockets, place, spares, _):
        spares.expect(place.url)
        await stand(spares, 1)
        await sockets.closed()
        assert spares.take(place.url) is None
        assert sockets.asked == [MADE]
        spares.expect(place.url)
        await stand(spares, 1)


async def test_one_that_janus_dropped_is_passed_over() -> None:
    async with scene() as (sockets, place, spares, bridge):
        spares.expect(place.url)
        await stand(spares, 1)
        await sockets.open[0].close()
        await sockets.closed()
        await enter(bridge, place)
        assert sockets.asked[1][-1] == "join"


async def test_a_janus_that_is_away_is_not_asked_again_by_itself() -> None:
    async with scene() as (_, place, spares, bridge):
        spares.expect("ws://127.0.0.1:9")
        spares.expect(place.url)
        await stand(spares, 1)
        assert spares.take("ws://127.0.0.1:9") is None
        await enter(bridge, place)


async def test_at_the_gateways_end_none_is_left() -> None:
    sockets, spares = Sockets(), Spares()
    async with janus(sockets) as place:
        async with spares.running():
            spares.expect(place.url)
            await stand(spares, 1)
        await sockets.closed()
        spares.expect(place.url)
        assert spares.take(place.url) is None

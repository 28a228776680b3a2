"""Where a room's history is, as REST says it; and what ``./onair rooms events`` makes of it."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from cli.client import RefusedError
from cli.events import History as Reader
from pkg.errors import ConfigError
from pkg.events.server import Stamp, StreamServer
from pkg.model import RoomId
from roommanager.api import create_app
from roommanager.history import History
from tests.support.fake_streams import FakeStreams
from tests.support.inprocess import API_KEY, running

BASE = "http://streams/v1/stream"
PUBLIC = "https://history.example/v1/stream"
KEYED = {"Authorization": f"Bearer {API_KEY}"}


@asynccontextmanager
async def asking(streams: FakeStreams, url: str = PUBLIC) -> AsyncGenerator[httpx.AsyncClient]:
    """A caller of REST, where ``blue`` exists and ``red`` did."""
    async with running() as stage, streams.client() as http:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        server = StreamServer(http, BASE)
        await server.append(RoomId("red"), b"{}", Stamp("p", 0, 0))
        context = replace(stage.context, history=History(server, url))
        transport = httpx.ASGITransport(create_app(context))
        async with httpx.AsyncClient(transport=transport, base_url="http://onair") as client:
            yield client


@pytest.mark.anyio
async def test_rest_sends_to_the_stream_also_of_a_room_that_is_gone() -> None:
    async with asking(FakeStreams()) as client:
        for room in ("blue", "red"):
            query = "?offset=-1&live=sse"
            answer = await client.get(f"/api/rooms/{room}/events{query}", headers=KEYED)
            assert answer.status_code == 307
            assert answer.headers["location"] == f"{PUBLIC}/rooms/{room}{query}"
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.anyio
async def test_rest_says_why_there_is_no_history() -> None:
    streams = FakeStreams()

    async def code(client: httpx.AsyncClient, room: str) -> tuple[int, str]:
        answer = await client.get(f"/api/rooms/{room}/events", headers=KEYED)
        return answer.status_code, str(answer.json()["code"])

    async with asking(streams) as client:
        assert await code(client, "nobody") == (404, "room-not-found")
        assert (await client.get("/api/rooms/blue/events")).status_code == 401
        assert await code(client, "no.id") == (422, "invalid-request")
        streams.weather = lambda: "away"
        assert await code(client, "nobody") == (503, "streams-unavailable")
        answer = await client.get("/api/rooms/blue/events", headers=KEYED)
        assert answer.status_code == 307  # that a room exists is known without the stream server
    async with asking(streams := FakeStreams(), url="") as client:
        assert await code(client, "blue") == (404, "no-history")


class Pages:
    """A stream in pieces, as a script: an answer for each request."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = iter(answers)
        self.asked: list[dict[str, str]] = []

    def reader(self) -> Reader:
        return Reader(httpx.Client(transport=httpx.MockTransport(self._answer)), f"{BASE}/rooms/a")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def page(offset: str, *events: int, **more: str) -> httpx.Response:
    headers = {"Stream-Next-Offset": offset, **{k.replace("_", "-"): v for k, v in more.items()}}
    return httpx.Response(200, headers=headers, content=json.dumps(events).encode())


def test_a_long_history_is_read_in_pieces_to_its_end() -> None:
    pages = Pages(page("a", 1, 2), page("b", 3), page("c", 4, Stream_Up_To_Date="true"))
    pieces = list(pages.reader().pieces("-1", follow=False))
    assert [number for piece in pieces for number in piece.events] == [1, 2, 3, 4]
    assert pages.asked == [{"offset": offset} for offset in ("-1", "a", "b")]
    assert pieces[-1].offset == "c"


def test_following_waits_for_more_and_outlives_the_server() -> None:
    pages = Pages(
        httpx.Response(404),
        page("a", 1, Stream_Up_To_Date="true", Stream_Cursor="7"),
        httpx.Response(204, headers={"Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"}),
        httpx.ConnectError("killed"),
        httpx.Response(503),
        page("b", 2, Stream_Up_To_Date="true", Stream_Closed="true"),
    )
    pieces = list(pages.reader().pieces("-1", follow=True))
    assert [number for piece in pieces for number in piece.events] == [1, 2]
    assert pages.asked[2] == {"offset": "a", "live": "long-poll", "cursor": "7"}
    assert pages.asked[3] == pages.asked[5] == {"offset": "a", "live": "long-poll"}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(404), RefusedError, "nothing has been told of this room yet"),
        (httpx.Response(400), RefusedError, "answers 400"),
        (httpx.Response(503), ConfigError, "answers 503"),
        (httpx.ConnectError("refused"), ConfigError, "does not answer .refused"),
    ],
)
def test_without_following_what_is_wrong_is_said_at_once(
    answer: httpx.Response | Exception, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        list(Pages(answer).reader().pieces("-1", follow=False))

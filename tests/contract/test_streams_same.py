"""What the rooms' history needs of a stream server: the same of the fake and of the real one."""

import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import httpx
import pytest

from pkg.events.server import Delivered, Fenced, Gap, Refused, Stamp, StreamServer, stream_url
from pkg.model import RoomId
from tests.support.fake_streams import FakeStreams
from tests.support.streams_process import Process, running

pytestmark = pytest.mark.anyio
BLUE = RoomId("blue")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class World:
    http: httpx.AsyncClient
    base: str

    @property
    def server(self) -> StreamServer:
        return StreamServer(self.http, self.base)

    @property
    def url(self) -> str:
        return stream_url(self.base, BLUE)

    async def say(self, number: int, stamp: Stamp) -> object:
        return await self.server.append(BLUE, b'{"n":%d}' % number, stamp)

    async def read(self, offset: str = "-1", **query: str) -> httpx.Response:
        return await self.http.get(self.url, params={"offset": offset, **query})


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("streams")
    with running(folder / "data", folder / "log") as found:
        yield found


@pytest.fixture(params=["fake", "real"])
async def world(request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    """Each test has names of its own."""
    if request.param == "fake":
        async with FakeStreams().client() as http:
            yield World(http, "http://streams/v1/stream")
        return
    server: Process = request.getfixturevalue("process")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        yield World(http, f"{server.streams}/{secrets.token_hex(8)}")


async def test_the_stream_is_made_by_the_first_event(world: World) -> None:
    assert not await world.server.exists(BLUE)
    assert (await world.read()).status_code == 404
    assert await world.say(1, Stamp("p", 0, 0)) == Delivered()
    assert await world.server.exists(BLUE)
    found = await world.read()
    assert found.json() == [{"n": 1}]
    assert found.headers["Stream-Up-To-Date"] == "true"


async def test_a_number_is_taken_once(world: World) -> None:
    for _ in range(3):
        assert await world.say(1, Stamp("p", 0, 0)) == Delivered()
    assert await world.say(2, Stamp("p", 0, 1)) == Delivered()
    assert await world.say(1, Stamp("p", 0, 0)) == Delivered()
    assert await world.say(3, Stamp("other", 0, 0)) == Delivered()
    assert (await world.read()).json() == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_a_gap_names_what_is_expected(world: World) -> None:
    assert await world.say(9, Stamp("p", 0, 3)) == Gap(0)
    assert await world.say(1, Stamp("p", 0, 0)) == Delivered()
    assert await world.say(9, Stamp("p", 0, 3)) == Gap(1)
    assert (await world.read()).json() == [{"n": 1}]


async def test_a_higher_epoch_fences(world: World) -> None:
    assert await world.say(1, Stamp("p", 4, 0)) == Delivered()
    assert await world.say(9, Stamp("p", 3, 1)) == Fenced(4)
    assert await world.say(2, Stamp("p", 5, 0)) == Delivered()
    assert (await world.read()).json() == [{"n": 1}, {"n": 2}]


async def test_a_deleted_stream_is_made_again_and_knows_no_producer(world: World) -> None:
    await world.say(1, Stamp("p", 0, 0))
    await world.say(2, Stamp("p", 0, 1))
    assert (await world.http.delete(world.url)).status_code == 204
    assert await world.say(3, Stamp("p", 0, 2)) == Gap(0)
    assert await world.server.exists(BLUE)


async def test_a_closed_stream_and_one_of_another_kind_refuse(world: World) -> None:
    await world.say(1, Stamp("p", 0, 0))
    await world.http.post(world.url, headers={"Stream-Closed": "true"})
    assert await world.say(2, Stamp("p", 0, 1)) == Refused("answered 409, the stream is closed")
    assert (await world.read()).headers["Stream-Closed"] == "true"
    red = RoomId("red")
    text = {"Content-Type": "text/plain"}
    await world.http.put(stream_url(world.base, red), headers=text)
    refused = await world.server.append(red, b"{}", Stamp("p", 0, 0))
    assert refused == Refused("answered 409")


async def test_what_is_no_json_is_refused_and_takes_no_number(world: World) -> None:
    refused = await world.server.append(BLUE, b"{", Stamp("p", 0, 0))
    assert isinstance(refused, Refused)
    assert await world.say(1, Stamp("p", 0, 0)) == Delivered()


async def test_reading_on_from_an_offset_and_waiting_for_more(world: World) -> None:
    await world.say(1, Stamp("p", 0, 0))
    offset = (await world.read()).headers["Stream-Next-Offset"]
    await world.say(2, Stamp("p", 0, 1))
    on = await world.read(offset, live="long-poll")
    assert on.json() == [{"n": 2}]
    assert on.headers["Stream-Cursor"]
    tail = await world.read(on.headers["Stream-Next-Offset"])
    assert tail.json() == []

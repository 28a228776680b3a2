"""What a direct probe makes of whoever is (not) there: on real sockets, for that is its matter."""

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from pkg.model import Endpoints, Kind, ModuleId
from roommanager.prober import MAX_BYTES, DirectProber
from roommanager.verdict import Answer

pytestmark = pytest.mark.anyio
M1 = ModuleId("m1")
HERE = "127.0.0.1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def saying(reply: bytes | None) -> AsyncGenerator[int]:
    """Somebody who says this to all, or nothing at all (None), and hangs up; its port."""

    async def talk(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            if reply is None:
                await anyio.sleep_forever()
            else:
                await stream.send(reply)

    async with (
        await anyio.create_tcp_listener(local_host=HERE) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, talk)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        tasks.cancel_scope.cancel()


def http(body: object, status: str = "200 OK") -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


async def ask(kind: Kind, port: int) -> Answer:
    where = Endpoints(probe=f"http://{HERE}:{port}/probe", ws=f"ws://{HERE}:{port}")
    async with httpx.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(30):
            return await DirectProber(client).probe(kind, M1, where)


@pytest.mark.parametrize(
    ("kind", "reply", "answer"),
    [
        (Kind.MIXER, http({"kind": "mixer", "mixerId": "m1"}), Answer.ANSWERS),
        (Kind.MIXER, http({"kind": "mixer", "mixerId": "m2"}), Answer.REFUSED),
        (Kind.MIXER, http(["m1"]), Answer.REFUSED),
        (Kind.MIXER, http({}, "404 Not Found"), Answer.REFUSED),
        (Kind.MIXER, b"", Answer.SILENT),
        (Kind.MIXER, None, Answer.SILENT),
        (Kind.JANUS, http({}, "200 OK"), Answer.REFUSED),
        (Kind.JANUS, b"", Answer.SILENT),
        (Kind.JANUS, None, Answer.SILENT),
    ],
)
async def test_whoever_listens(kind: Kind, reply: bytes | None, answer: Answer) -> None:
    async with saying(reply) as port:
        assert await ask(kind, port) is answer


@pytest.mark.parametrize("kind", Kind)
async def test_a_port_where_nobody_listens_is_refused(kind: Kind) -> None:
    with socket.socket() as free:
        free.bind((HERE, 0))
        assert await ask(kind, free.getsockname()[1]) is Answer.REFUSED


async def pong(connection: ServerConnection) -> None:
    asked = json.loads(await connection.recv())
    assert asked["janus"] == "ping"
    await connection.send(json.dumps({"janus": "pong", "transaction": asked["transaction"]}))


async def silence(connection: ServerConnection) -> None:
    await connection.wait_closed()


@pytest.mark.parametrize(("talk", "answer"), [(pong, Answer.ANSWERS), (silence, Answer.SILENT)])
async def test_a_janus(talk: Callable[[ServerConnection], Awaitable[None]], answer: Answer) -> None:
    async with serve(talk, HERE, 0, subprotocols=[Subprotocol("janus-protocol")]) as server:
        assert await ask(Kind.JANUS, server.sockets[0].getsockname()[1]) is answer


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    "where",
    [
        Endpoints(),
        Endpoints(probe="http://[", ws="nonsense"),
        Endpoints(probe=f"http://{HERE}:99999/probe", ws=f"ws://{HERE}:99999"),
        Endpoints(probe="http://m..1/", ws="ws://m..1/"),
        Endpoints(probe="http://m\0/", ws="ws://m\0/"),
    ],
)
async def test_without_an_address_nobody_can_be_asked(kind: Kind, where: Endpoints) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert await DirectProber(client).probe(kind, M1, where) is Answer.UNASKED


def sent_on(where: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("kind", Kind)
async def test_a_stranger_who_sends_us_on_is_not_who_was_asked(kind: Kind) -> None:
    """Wherever to: a room manager can reach what strangers cannot."""
    asked = []

    async def janus(connection: ServerConnection) -> None:
        asked.append(connection.remote_address)
        await pong(connection)

    async with serve(janus, HERE, 0, subprotocols=[Subprotocol("janus-protocol")]) as server:
        other = server.sockets[0].getsockname()[1]
        for where in (f"ws://{HERE}:{other}/", f"http://{HERE}:{other}/", "/", "ws://m:99999/"):
            async with saying(sent_on(where)) as port:
                assert await ask(kind, port) is Answer.REFUSED
    assert asked == []


async def test_no_more_is_read_than_a_mixer_says() -> None:
    async with saying(http({"mixerId": "m1", "more": "x" * MAX_BYTES})) as port:
        assert await ask(Kind.MIXER, port) is Answer.REFUSED


async def test_a_stranger_whose_json_is_too_deep_is_no_mixer() -> None:
    body = b"[" * 50_000
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with saying(reply) as port:
        assert await ask(Kind.MIXER, port) is Answer.REFUSED

"""Who does not read, and who says nothing: on real sockets, with a session that talks a lot."""

import json
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

from pkg.etcd.memory import MemoryStore
from pkg.httpserver import listen
from tests.support.gateway_parts import Part, holder, on_air, running
from tests.support.gateway_process import SLACK_SECONDS, TOKENS, token
from tests.support.tcp import free_port
from tests.support.virtual import until
from wsgateway.admission import Admission
from wsgateway.exchange import Close, Effect, Ended, Event, Received, Send
from wsgateway.limits import HALF_OPEN, Limits, room_for
from wsgateway.rules import CLOSE
from wsgateway.server import OPEN_SECONDS, House, Server

pytestmark = pytest.mark.anyio

A_LOT = [Send("x" * 16_000)] * 100


class Talker:
    """Answers each frame with more than the kernel and we hold for anybody."""

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        match event:
            case Received("hello"):
                return [Send("hello")]
            case Received():
                return A_LOT
            case Ended(why):
                return [Close(CLOSE[why].code, CLOSE[why].words)]
            case _:
                return []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Part, int]]:
    async with running(MemoryStore()) as part:
        await on_air(part.etcd)
        house = House(
            gateway_id="g1",
            etcd=part.etcd,
            admission=Admission(TOKENS, part.rooms.is_void, ()),
            limits=Limits(5000, 3),
            around=part.surroundings(),
            session=lambda _grant, _fence: Talker(),
            now=lambda: "2026-01-01T00:00:00.000Z",
        )
        server, port = Server(house), free_port()
        async with server.serving(listen(f"127.0.0.1:{port}")), server.letting_in():
            yield part, port


async def raw(port: int, user: str = "ann") -> tuple[SocketStream, bytes]:
    """A host by hand, whose kernel takes little for him; and what his handshake got."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    found = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 not Django
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = (
        f"GET /ws?token={token(user)} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await stream.send(head.encode())
    with anyio.fail_after(SLACK_SECONDS):
        return stream, await stream.receive()


def frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros, of at most 125 bytes (RFC 6455 §5.2)."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def says_hello(stream: SocketStream) -> bool:
    await stream.send(frame(1, b"hello"))
    with anyio.fail_after(SLACK_SECONDS):
        return b"hello" in await stream.receive()


async def test_who_does_not_read_is_closed_and_holds_nothing() -> None:
    async with serving() as (part, port):
        slow, _ = await raw(port)
        bob, _ = await raw(port, "bob")
        async with slow, bob:
            await slow.send(frame(1, b"talk"))
            await until(lambda: holder(part.etcd.store) is None, within=SLACK_SECONDS)
            closed = 'onair_gateway_closed_total{code="1013"} 1.0'
            await until(lambda: closed in metrics(part), within=SLACK_SECONDS)
            assert await says_hello(bob)


def metrics(part: Part) -> str:
    return part.metrics.render([], holds_lease=True).decode()


async def test_pongs_that_nobody_reads_pile_up_within_bounds() -> None:
    async with serving() as (part, port):
        slow, _ = await raw(port)
        async with slow:
            try:
                with anyio.fail_after(SLACK_SECONDS):
                    while True:
                        await slow.send(frame(9, b"p" * 125) * 500)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            await until(lambda: holder(part.etcd.store) is None, within=SLACK_SECONDS)


async def test_a_crowd_that_says_nothing_disturbs_no_host() -> None:
    room_for(2 * HALF_OPEN)  # files: both ends are ours
    async with serving() as (_, port):
        bob, _ = await raw(port, "bob")
        crowd = []
        try:
            for _ in range(HALF_OPEN + 20):
                silent = socket.socket()
                silent.setblocking(False)
                crowd.append(silent)
                silent.connect_ex(("127.0.0.1", port))
                if len(crowd) % 100 == 0:
                    await anyio.sleep(0.001)
            assert await says_hello(bob)
            # Made room long before its own time is up, which the rest have still.
            await until(lambda: is_hung_up(crowd[0]), within=0.8 * OPEN_SECONDS)
            assert not is_hung_up(crowd[-1])
            ann, answer = await raw(port)
            async with ann, bob:
                assert b" 101 " in answer
        finally:
            for silent in crowd:
                silent.close()


def is_hung_up(silent: socket.socket) -> bool:
    try:
        return silent.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_too_many_from_one_address() -> None:
    async with serving() as (_, port):
        hosts = [await raw(port, f"user{n}") for n in range(4)]
        answers = [answer.split(b" ", 2)[1] for _, answer in hosts]
        assert answers == [b"101"] * 3 + [b"503"]
        head, _, body = hosts[3][1].partition(b"\r\n\r\n")
        assert b"Retry-After" in head
        assert json.loads(body)["code"] == "too-many-connections"
        await hosts[0][0].aclose()

        await comes_in(port)
        for stream, _ in hosts[1:]:
            await stream.aclose()


async def comes_in(port: int) -> None:
    """Until there is a place again."""
    with anyio.fail_after(SLACK_SECONDS):
        while True:
            stream, answer = await raw(port, f"late{os.urandom(2).hex()}")
            await stream.aclose()
            if b" 101 " in answer:
                return
            await anyio.sleep(0.05)

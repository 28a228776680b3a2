"""Hosts with good tokens and bad manners at a real gateway: others notice nothing of them."""

import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest

from bench import sockets
from pkg import keys
from tests.security.wire import Request
from tests.support.gateway_process import (
    MASTER,
    SLACK_SECONDS,
    GatewayProcess,
    Site,
    host,
    token,
)

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]

FLOOD_FRAMES = 400_000
MEMORY_BYTES = 40 * 1024 * 1024
PING, TEXT_BEGINS, NOTHING_MORE_YET = 0x89, 0x01, 0x00


@pytest.fixture
def gateway(tmp_path: Path, etcd_url: str, etcd_namespace: str) -> Iterator[GatewayProcess]:
    with GatewayProcess(Site(tmp_path, etcd_url, etcd_namespace), "g1") as running:
        yield running
    assert "Traceback" not in running.daemon.log_path.read_text()


def handshake(user: str) -> bytes:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    return Request("GET", f"/ws?token={token(user)}", upgrade).encode()


def empty(opcode: int) -> bytes:
    """A frame that holds nothing, masked with zeros (RFC 6455, section 5.2)."""
    return bytes([opcode, 0x80, 0, 0, 0, 0])


# -- who is gone before he is looked at -----------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
async def test_who_hangs_up_during_the_handshake_leaves_nothing(
    gateway: GatewayProcess, etcd_url: str, etcd_namespace: str, reset: bool
) -> None:
    """More often than one address may be connected."""
    for number in range(210):
        with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
            if reset:
                linger = struct.pack("ii", 1, 0)
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            caller.sendall(handshake(f"user{number}"))
    async with host(gateway, "ann") as ann:
        await ann.send('{"id": 1, "method": "ping"}')
        assert json.loads(await ann.recv())["result"] == "pong"
    async with Site(Path(), etcd_url, etcd_namespace).etcd() as etcd:
        with anyio.fail_after(SLACK_SECONDS):
            while (await etcd.range(keys.HOSTS)).kvs:
                await anyio.sleep(0.05)


# -- who comes all at once ------------------------------------------------------------------


async def test_a_crowd_gets_as_many_places_as_one_address_has(gateway: GatewayProcess) -> None:
    """200 by default; who asks meanwhile is answered, and then there is room again."""
    whole = [sockets.handshake(token) for token in sockets.tokens(MASTER, 205)]
    async with talking(gateway) as took:
        with anyio.fail_after(SLACK_SECONDS):
            while not took:
                await anyio.sleep(0.01)
        _, found = await sockets.opened(gateway.port, whole, hold=0.5)
        assert Counter(one.status for one in found) == {101: 199, 503: 6}
        before = len(took)
        halves = [b"", whole[0][:40]] * 150
        await sockets.opened(gateway.port, halves, hold=0.5)
        with anyio.fail_after(SLACK_SECONDS):
            while len(took) < before + 3:
                await anyio.sleep(0.01)
            while (await sockets.opened(gateway.port, whole[:1], hold=0))[1][0].status != 101:
                await anyio.sleep(0.1)


# -- who sends more than anybody reads ------------------------------------------------------


@asynccontextmanager
async def talking(gateway: GatewayProcess) -> AsyncGenerator[list[float]]:
    """Another host, who asks all the while; how long each answer took him."""
    took: list[float] = []
    done = anyio.Event()

    async def talk() -> None:
        async with host(gateway, "bob") as bob:
            while not done.is_set():
                asked = anyio.current_time()
                await bob.send('{"id": 1, "method": "ping"}')
                await bob.recv()
                took.append(anyio.current_time() - asked)
                await anyio.sleep(0.06)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        yield took
        done.set()


def is_cut_off(port: int, first: bytes, frame: bytes) -> bool:
    """Send far too many frames, and see whether that is put up with."""
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(SLACK_SECONDS)
        caller.sendall(handshake("mallory"))
        try:
            caller.sendall(first + frame * FLOOD_FRAMES)
            while caller.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
    return True


@pytest.mark.parametrize(
    ("first", "frame"),
    [(b"", empty(PING)), (empty(TEXT_BEGINS), empty(NOTHING_MORE_YET))],
    ids=["pings", "parts of a message without end"],
)
async def test_frames_that_hold_nothing_are_counted_too(
    gateway: GatewayProcess, first: bytes, frame: bytes
) -> None:
    process = psutil.Process(gateway.daemon.pid)
    async with talking(gateway) as took:
        with anyio.fail_after(SLACK_SECONDS):
            while len(took) < 10:
                await anyio.sleep(0.01)
        memory, spent = process.memory_info().rss, cpu(process)
        for _ in range(3):
            assert await anyio.to_thread.run_sync(is_cut_off, gateway.port, first, frame)
        before = len(took)
        with anyio.fail_after(SLACK_SECONDS):
            while len(took) < before + 3:
                await anyio.sleep(0.01)
        assert cpu(process) - spent < 1.0, max(took)
        assert process.memory_info().rss - memory < MEMORY_BYTES


def cpu(process: psutil.Process) -> float:
    """Seconds, whoever else is busy on this machine."""
    times = process.cpu_times()
    return times.user + times.system

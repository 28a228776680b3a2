"""Audio through a real Janus: what a host plays leaves the room's forwarder as RTP/Opus."""

import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from itertools import pairwise

import anyio
import anyio.to_thread
import av
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.bot import Bot, BotError
from bench.tone import peak
from janusmanager import messages
from janusmanager.api import Marker
from janusmanager.driver import JanusDriver
from pkg.lifecycle import background
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.janus import PATIENT, RealJanus, running

pytestmark = [pytest.mark.anyio, pytest.mark.janus]

MARKER = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))
NUMBER, PIN, SECRET = 123456, "pin", "secret"
SSRC = messages.forwarder_ssrc(RoomId("blue"), Epoch(7))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealJanus]:
    with running(tmp_path_factory.mktemp("janus")) as real:
        yield real


@pytest.fixture
async def janus(process: RealJanus) -> AsyncIterator[JanusDriver]:
    """With a room made for the test, and unmade after it."""
    driver = JanusDriver(process.access, ModuleId("j1"), random.Random(1), PATIENT)
    async with background(driver.run):
        with anyio.fail_after(PATIENT.deadline):
            await driver.connection()
        await driver.create_room(MARKER, NUMBER, PIN, SECRET)
        yield driver
        await driver.destroy_room(NUMBER, SECRET)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENT.deadline)
        yield sock


async def packets(receiver: socket.socket, count: int) -> list[bytes]:
    """The next ``count`` RTP packets to arrive."""
    return await anyio.to_thread.run_sync(lambda: [receiver.recv(2048) for _ in range(count)])


def heard(rtp: list[bytes]) -> NDArray[np.float64]:
    """One channel of what RTP/Opus packets (no header extensions) hold."""
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = 48_000
    frames = [frame for packet in rtp for frame in decoder.decode(av.Packet(packet[12:]))]
    blocks = [frame.to_ndarray() for frame in frames]
    channels = frames[0].layout.nb_channels
    joined = np.concatenate([block.reshape(-1, channels) for block in blocks])[:, 0]
    return joined.astype(np.float64) / 32768 if joined.dtype == np.int16 else joined


def ssrc_of(packet: bytes) -> int:
    return int.from_bytes(packet[8:12], "big")


async def test_an_empty_room_sends_silence_every_20_ms(
    janus: JanusDriver, receiver: socket.socket
) -> None:
    await janus.forward(NUMBER, SECRET, "127.0.0.1", receiver.getsockname()[1], SSRC)
    rtp = await packets(receiver, 30)
    assert {ssrc_of(packet) for packet in rtp} == {SSRC}
    assert {packet[1] & 0x7F for packet in rtp} == {messages.OPUS_PAYLOAD_TYPE}
    stamps = [int.from_bytes(packet[4:8], "big") for packet in rtp]
    assert {later - earlier for earlier, later in pairwise(stamps)} == {960}
    assert peak(heard(rtp), 48_000)[1] < -60


async def test_what_a_host_plays_is_what_the_forwarder_sends(
    process: RealJanus, janus: JanusDriver, receiver: socket.socket
) -> None:
    await janus.forward(NUMBER, SECRET, "127.0.0.1", receiver.getsockname()[1], SSRC)
    async with Bot(process.settings.ws_url, NUMBER, PIN, 440, display="anna") as bot:
        await bot.connected()
        with anyio.fail_after(PATIENT.deadline):
            while True:  # until the mix is warm
                hertz, dbfs = peak(heard(await packets(receiver, 50)), 48_000)
                if abs(hertz - 440) <= 2 and dbfs > -12:
                    break
        [someone] = await janus.participants(NUMBER)
        assert (someone.display, someone.connected, someone.muted) == ("anna", True, False)
    assert await janus.participants(NUMBER) == ()


async def test_two_hosts_are_mixed(
    process: RealJanus, janus: JanusDriver, receiver: socket.socket
) -> None:
    await janus.forward(NUMBER, SECRET, "127.0.0.1", receiver.getsockname()[1], SSRC)
    url = process.settings.ws_url
    async with Bot(url, NUMBER, PIN, 440) as low, Bot(url, NUMBER, PIN, 1000) as high:
        await low.connected()
        await high.connected()
        with anyio.fail_after(PATIENT.deadline):
            heard_once: set[int] = set()
            while heard_once != {440, 1000}:
                await low.mute(muted=440 in heard_once)
                hertz, dbfs = peak(heard(await packets(receiver, 50)), 48_000)
                heard_once |= {
                    tone for tone in (440, 1000) if abs(hertz - tone) <= 3 and dbfs > -20
                }
    assert await janus.participants(NUMBER) == ()


async def test_a_wrong_pin_is_refused(process: RealJanus, janus: JanusDriver) -> None:
    with pytest.raises(BotError, match="489"):
        async with Bot(process.settings.ws_url, NUMBER, "wrong", 440):
            pass
    assert await janus.participants(NUMBER) == ()

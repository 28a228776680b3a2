"""The real Janus alone: our configuration of it, wrong settings in words, deaths and freezes."""

import random
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from janusmanager.api import JanusRefusedError, JanusUnavailableError, Marker
from janusmanager.driver import JanusDriver
from janusmanager.link import Access, Limits
from pkg.lifecycle import background
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.janus import PATIENT, RealJanus
from tests.support.tcp import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.janus]

MARKER = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))
NUMBER, PIN, SECRET = 123456, "pin", "secret"
IMPATIENT = Limits(deadline=0.3, ping_seconds=30.0)
AUDIOBRIDGE = "janus.plugin.audiobridge.jcfg"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RealJanus]:
    """Not started yet."""
    janus = RealJanus(tmp_path / "janus")
    yield janus
    janus.kill()


@asynccontextmanager
async def driving(access: Access, limits: Limits = PATIENT) -> AsyncIterator[JanusDriver]:
    driver = JanusDriver(access, ModuleId("j1"), random.Random(1), limits)
    async with background(driver.run):
        yield driver


async def unavailable(driver: JanusDriver, words: str) -> None:
    """Wait until it says so; it may say before that it has not tried to connect yet."""
    with anyio.fail_after(PATIENT.deadline):
        while True:
            with pytest.raises(JanusUnavailableError) as raised:
                await driver.list_rooms()
            if words in str(raised.value):
                return
            await anyio.sleep(0.02)


async def announced(driver: JanusDriver, after: int = 0) -> int:
    with anyio.fail_after(PATIENT.deadline):
        return await driver.connection(after)


# --- the configuration ---


async def test_each_server_answers_and_the_others_are_closed(process: RealJanus) -> None:
    process.start()
    settings = process.settings
    async with httpx.AsyncClient(trust_env=False) as http:
        ping = {"janus": "ping", "transaction": "1"}
        assert (await http.post(settings.admin_http_url, json=ping)).json()["janus"] == "pong"
        api = settings.admin_http_url.replace("/admin", "/janus")
        assert (await http.post(api, json=ping)).is_error
    for url, protocol in (
        (settings.ws_url, "janus-protocol"),
        (settings.admin_ws_url, "janus-admin-protocol"),
    ):
        async with connect(url, subprotocols=[Subprotocol(protocol)], proxy=None) as socket:
            await socket.send('{"janus":"info","transaction":"1"}')
            assert '"server_info"' in str(await socket.recv())


async def test_only_the_audiobridge_is_loaded(process: RealJanus) -> None:
    process.start()
    async with driving(process.access) as driver:
        await announced(driver)
        assert (await driver.info()).plugins == {"janus.plugin.audiobridge"}


async def test_no_secret_shows_in_argv_environment_or_log(process: RealJanus) -> None:
    process.start()
    async with driving(process.access) as driver:
        await announced(driver)
        await driver.create_room(MARKER, NUMBER, "pin-4711", "secret-4711")
    proc = Path(f"/proc/{process.pid}")
    seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    seen += process.log_path.read_bytes()
    for secret in (process.settings.admin_secret, process.settings.admin_key, "4711"):
        assert secret.encode() not in seen
    for path in process.folder.glob("*.jcfg"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- wrong settings ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"admin_secret": "x" * 16}, "ONAIR_JANUS_MANAGER_ADMIN_SECRET_FILE"),
        ({"admin_key": "x" * 16}, "ONAIR_JANUS_MANAGER_ADMIN_KEY_FILE"),
    ],
)
async def test_a_wrong_secret_names_the_setting(
    process: RealJanus, change: dict[str, str], words: str
) -> None:
    process.start()
    async with driving(replace(process.access, **change)) as driver:
        assert await announced(driver) == 1
        with pytest.raises(JanusRefusedError, match=words):
            await driver.list_rooms()
        assert (await driver.info()).version == "1.1.2"
        with pytest.raises(TimeoutError), anyio.fail_after(0.5):
            await driver.connection(after=1)  # no storm: it stays connected


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("admin_key = ", "# admin_key = ", "has no admin key"),
        ("lock_rtp_forward = true", "lock_rtp_forward = false", "lock_rtp_forward"),
    ],
)
async def test_a_janus_that_cannot_be_trusted_is_refused_until_mended(
    process: RealJanus, old: str, new: str, words: str
) -> None:
    process.start(edit={AUDIOBRIDGE: (old, new)})
    async with driving(process.access) as driver:
        seen = await announced(driver)
        with pytest.raises(JanusRefusedError, match=words):
            await driver.create_room(MARKER, NUMBER, PIN, SECRET)
        process.restart()
        await announced(driver, after=seen)
        await driver.create_room(MARKER, NUMBER, PIN, SECRET)


async def test_a_janus_without_audiobridge_is_refused(process: RealJanus) -> None:
    process.start(edit={"janus.jcfg": ("libjanus_sip.so", "libjanus_audiobridge.so")})
    async with driving(process.access) as driver:
        await announced(driver)
        with pytest.raises(JanusRefusedError, match="has not loaded"):
            await driver.list_rooms()


async def test_a_socket_that_is_not_the_admin_api_says_so(process: RealJanus) -> None:
    process.start()
    wrong = replace(process.access, url=process.settings.ws_url)
    async with driving(wrong) as driver:
        await unavailable(driver, "ONAIR_JANUS_MANAGER_ADMIN_URL")


# --- deaths ---


async def test_it_connects_once_janus_is_there(process: RealJanus) -> None:
    async with driving(process.access) as driver:
        with pytest.raises(JanusUnavailableError):
            await driver.list_rooms()
        await anyio.to_thread.run_sync(process.start)
        await announced(driver)
        assert await driver.list_rooms() == ()


async def test_a_request_in_flight_fails_when_janus_dies(process: RealJanus) -> None:
    process.start()
    async with driving(process.access) as driver:
        await announced(driver)
        process.pause()

        async def die() -> None:
            await anyio.sleep(0.1)
            process.kill()

        with anyio.fail_after(PATIENT.deadline / 2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(die)
                with pytest.raises(JanusUnavailableError, match="ended"):
                    await driver.list_rooms()


async def test_a_create_that_timed_out_is_adopted_later(process: RealJanus) -> None:
    process.start()
    async with driving(process.access, IMPATIENT) as hasty, driving(process.access) as driver:
        await announced(hasty)
        await announced(driver)
        process.pause()
        with pytest.raises(JanusUnavailableError, match="may still act"):
            await hasty.create_room(MARKER, NUMBER, PIN, SECRET)
        process.resume()
        with anyio.fail_after(PATIENT.deadline):
            while not await driver.list_rooms():
                await anyio.sleep(0.01)
        room = await driver.create_room(MARKER, NUMBER, PIN, SECRET)
        assert await driver.list_rooms() == (room,)


async def test_a_frozen_janus_is_noticed_and_found_again(process: RealJanus) -> None:
    process.start()
    watchful = replace(PATIENT, ping_seconds=2.0)  # gives the connection up, then, not a request
    async with driving(process.access, watchful) as driver:
        await announced(driver)
        await driver.create_room(MARKER, NUMBER, PIN, SECRET)
        first = await driver.connection()
        process.pause()
        with anyio.fail_after(PATIENT.deadline / 2):
            with pytest.raises(JanusUnavailableError, match="ended"):
                await driver.ping()
        process.resume()
        await announced(driver, after=first)
        assert [room.number for room in await driver.list_rooms()] == [NUMBER]


async def test_an_answer_larger_than_allowed_ends_the_connection_only(process: RealJanus) -> None:
    process.start()
    async with driving(process.access, replace(PATIENT, message_bytes=5000)) as driver:
        first = await announced(driver)
        for number in range(100_000, 100_050):
            await driver.create_room(
                Marker(ModuleId("j1"), RoomId(f"r{number}"), Epoch(1)), number, PIN, SECRET
            )
        with pytest.raises(JanusUnavailableError, match="too big"):
            await driver.list_rooms()
        assert first == 1


async def test_nobody_at_home_is_said_in_words() -> None:
    port = free_port()
    async with driving(Access(f"ws://127.0.0.1:{port}", "s", "k")) as driver:
        await unavailable(driver, "cannot be reached")

"""What every Janus must do, fake (virtual time) or real (marked ``janus``)."""

import random
from collections.abc import AsyncIterator

import anyio
import pytest

from janusmanager import messages
from janusmanager.api import (
    Janus,
    JanusRefusedError,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    RoomNumberTakenError,
)
from janusmanager.controller import WORKERS
from janusmanager.driver import JanusDriver
from pkg.lifecycle import background
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.fake_janus import FakeJanus
from tests.support.janus import PATIENT, RealJanus
from tests.support.janus_kinds import anyio_backend, kind, process

__all__ = ["anyio_backend", "kind", "process"]
pytestmark = pytest.mark.anyio

MODULE = ModuleId("j1")
BLUE = Marker(MODULE, RoomId("blue"), Epoch(7))
RED = Marker(MODULE, RoomId("red"), Epoch(9))
PIN, SECRET, SSRC = "pin", "secret", 0x284E0007
HERE = "127.0.0.1"


@pytest.fixture
async def janus(process: RealJanus | None) -> AsyncIterator[Janus]:
    if process is None:
        yield FakeJanus(MODULE)
        return
    driver = JanusDriver(process.access, MODULE, random.Random(1), PATIENT)
    async with background(driver.run):
        with anyio.fail_after(PATIENT.deadline):
            await driver.connection()
        yield driver


@pytest.fixture
def restart(process: RealJanus | None, janus: Janus) -> object:
    return process.restart if process is not None else janus.restart  # type: ignore[attr-defined]


async def test_it_says_who_it_is_and_how_fast(janus: Janus) -> None:
    info = await janus.info()
    assert messages.PLUGIN in info.plugins
    assert info.version.startswith("1.")
    assert 0 <= await janus.ping() < PATIENT.deadline


async def test_a_created_room_is_listed_though_private(janus: Janus) -> None:
    created = await janus.create_room(BLUE, 123456, PIN, SECRET)
    assert (created.number, created.marker) == (123456, BLUE)
    assert await janus.list_rooms() == (created,)
    assert await janus.participants(123456) == ()


async def test_creating_twice_adopts(janus: Janus) -> None:
    first = await janus.create_room(BLUE, 123456, PIN, SECRET)
    assert await janus.create_room(BLUE, 123456, PIN, SECRET) == first
    assert len(await janus.list_rooms()) == 1


@pytest.mark.parametrize(
    "other",
    [
        RED,
        Marker(MODULE, RoomId("blue"), Epoch(8)),
        Marker(ModuleId("j2"), RED.room_id, RED.janus_epoch),
    ],
)
async def test_a_number_of_another_room_is_taken(janus: Janus, other: Marker) -> None:
    await janus.create_room(other, 123456, PIN, SECRET)
    with pytest.raises(RoomNumberTakenError) as raised:
        await janus.create_room(BLUE, 123456, PIN, SECRET)
    assert raised.value.number == 123456


async def test_only_this_modules_rooms_are_listed_by_number(janus: Janus) -> None:
    await janus.create_room(Marker(ModuleId("j2"), RoomId("x"), Epoch(1)), 111111, PIN, SECRET)
    await janus.create_room(RED, 333333, PIN, SECRET)
    await janus.create_room(BLUE, 222222, PIN, SECRET)
    assert [room.number for room in await janus.list_rooms()] == [222222, 333333]


async def test_destroying_is_idempotent_and_frees_the_number(janus: Janus) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    await janus.destroy_room(123456, SECRET)
    await janus.destroy_room(123456, SECRET)
    assert await janus.list_rooms() == ()
    await janus.create_room(RED, 123456, PIN, SECRET)


async def test_a_wrong_secret_is_refused_in_words_and_changes_nothing(janus: Janus) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    for attempt in (
        lambda: janus.destroy_room(123456, "wrong"),
        lambda: janus.forward(123456, "wrong", HERE, 5004, SSRC),
        lambda: janus.forwarders(123456, "wrong"),
    ):
        with pytest.raises(JanusRefusedError, match="ONAIR_MASTER_SECRET_FILE"):
            await attempt()
    assert len(await janus.list_rooms()) == 1
    assert await janus.forwarders(123456, SECRET) == ()


async def test_a_forward_is_made_once(janus: Janus) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    stream_id = await janus.forward(123456, SECRET, HERE, 5004, SSRC)
    assert await janus.forward(123456, SECRET, HERE, 5004, SSRC) == stream_id
    [forwarder] = await janus.forwarders(123456, SECRET)
    assert (forwarder.stream_id, forwarder.host, forwarder.port, forwarder.ssrc) == (
        stream_id,
        HERE,
        5004,
        SSRC,
    )


async def test_a_forward_elsewhere_replaces_that_of_the_same_ssrc_only(janus: Janus) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    old = await janus.forward(123456, SECRET, HERE, 5004, SSRC)
    other = await janus.forward(123456, SECRET, HERE, 5008, SSRC + 1)
    new = await janus.forward(123456, SECRET, HERE, 5006, SSRC)
    assert new != old
    found = {f.stream_id: f.port for f in await janus.forwarders(123456, SECRET)}
    assert found == {new: 5006, other: 5008}


async def test_stopping_a_forward_is_idempotent(janus: Janus) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    stream_id = await janus.forward(123456, SECRET, HERE, 5004, SSRC)
    await janus.stop_forward(123456, SECRET, stream_id)
    await janus.stop_forward(123456, SECRET, stream_id)
    assert await janus.forwarders(123456, SECRET) == ()
    await janus.stop_forward(999999, SECRET, stream_id)


async def test_verbs_about_a_room_that_is_gone_say_so(janus: Janus) -> None:
    for attempt in (
        lambda: janus.forward(654321, SECRET, HERE, 5004, SSRC),
        lambda: janus.forwarders(654321, SECRET),
        lambda: janus.participants(654321),
    ):
        with pytest.raises(NoSuchRoomError) as raised:
            await attempt()
        assert raised.value.number == 654321


@pytest.mark.parametrize(
    ("host", "port", "ssrc"),
    [
        ("localhost", 5004, 1),
        (HERE, 0, 1),
        (HERE, 70000, 1),
        (HERE, 5004, 0),
        (HERE, 5004, 1 << 32),
    ],
)
async def test_what_janus_would_misread_is_never_sent(
    janus: Janus, host: str, port: int, ssrc: int
) -> None:
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    with pytest.raises(ValueError, match=r"address|range"):
        await janus.forward(123456, SECRET, host, port, ssrc)
    assert await janus.forwarders(123456, SECRET) == ()


async def test_a_restart_loses_everything_and_is_announced(janus: Janus, restart: object) -> None:
    number = await janus.connection()
    await janus.create_room(BLUE, 123456, PIN, SECRET)
    restart()  # type: ignore[operator]
    with anyio.fail_after(PATIENT.deadline):
        assert await janus.connection(after=number) > number
    assert await janus.list_rooms() == ()


async def test_many_at_once_all_succeed(janus: Janus) -> None:
    """Rooms for all workers twice over, a quarter of which send.

    Each forwarder costs Janus 1.4 % of a core. Where it gets less than all of them need, their
    threads take a room's lock again and again before ``listforwarders`` gets it: never, if need be.
    """
    numbers = range(100_000, 100_000 + 2 * WORKERS)
    sending = numbers[: WORKERS // 2]

    async def live(number: int) -> None:
        marker = Marker(MODULE, RoomId(f"r{number}"), Epoch(1))
        await janus.create_room(marker, number, PIN, SECRET)
        if number in sending:
            await janus.forward(number, SECRET, HERE, 5004, SSRC)

    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(live, number)
    assert len(await janus.list_rooms()) == len(numbers)
    for number in numbers:
        assert len(await janus.forwarders(number, SECRET)) == (number in sending)


async def test_a_dead_janus_is_unavailable_at_once(janus: Janus, process: RealJanus | None) -> None:
    if process is not None:
        process.kill()
    elif isinstance(janus, FakeJanus):
        janus.down()
    with anyio.fail_after(PATIENT.deadline / 2), pytest.raises(JanusUnavailableError):
        await janus.list_rooms()

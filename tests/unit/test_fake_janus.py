"""The fake's cruelty does what it says, in virtual time."""

import anyio
import pytest
import trio.testing

from janusmanager.api import JanusRefusedError, JanusUnavailableError, Marker
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.fake_janus import FakeJanus, Mishap

pytestmark = pytest.mark.anyio
MARKER = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.fixture
def janus() -> FakeJanus:
    return FakeJanus(ModuleId("j1"))


async def create(janus: FakeJanus) -> None:
    await janus.create_room(MARKER, 123456, "pin", "secret")


async def test_a_spoilt_create_may_run_now_later_or_never(janus: FakeJanus) -> None:
    for mishap, at_once, later in (
        (Mishap(), 1, 1),
        (Mishap(late=10), 0, 1),
        (Mishap(executed=False), 0, 0),
    ):
        janus.restart()
        janus.spoil("create", mishap)
        began = anyio.current_time()
        with pytest.raises(JanusUnavailableError):
            await create(janus)
        assert anyio.current_time() - began == pytest.approx(3)
        assert len(await janus.list_rooms()) == at_once
        await anyio.sleep(10)
        assert len(await janus.list_rooms()) == later


async def test_a_spoilt_forward_that_is_repeated_leaves_one(janus: FakeJanus) -> None:
    await create(janus)
    janus.spoil("rtp_forward", Mishap())
    with pytest.raises(JanusUnavailableError):
        await janus.forward(123456, "secret", "127.0.0.1", 5004, 9)
    await janus.forward(123456, "secret", "127.0.0.1", 5004, 9)
    assert janus.calls["rtp_forward"] == 1
    assert len(janus.rooms[123456].forwarders) == 1


async def test_frozen_answers_nothing_and_keeps_its_rooms(janus: FakeJanus) -> None:
    await create(janus)
    janus.freeze()
    with pytest.raises(JanusUnavailableError):
        await janus.ping()
    janus.freeze(frozen=False)
    assert len(await janus.list_rooms()) == 1


async def test_down_loses_everything_and_up_is_announced(janus: FakeJanus) -> None:
    await create(janus)
    janus.down()
    with pytest.raises(JanusUnavailableError):
        await janus.list_rooms()
    janus.up()
    assert await janus.connection(after=1) == 2
    assert await janus.list_rooms() == ()


async def test_refusal_lasts_until_mended(janus: FakeJanus) -> None:
    janus.refuse("set general.admin_key")
    with pytest.raises(JanusRefusedError, match="admin_key"):
        await create(janus)
    janus.refuse(None)
    await create(janus)

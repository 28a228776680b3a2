"""What the Janus manager finds in Janus that nobody told it of (I5, I10)."""

import anyio
import pytest

from janusmanager.housekeeping import SWEEP_SECONDS
from janusmanager.inventory import Inventory
from janusmanager.plan import Present
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Epoch, RoomId
from pkg.secrets import room_secret
from tests.support.fake_janus import FakeJanus, FakeRoom
from tests.support.janus_stage import J1, MASTER, Stage, running

pytestmark = pytest.mark.anyio
BLUE, RED = RoomId("blue"), RoomId("red")


@pytest.fixture
def janus() -> FakeJanus:
    return FakeJanus(J1)


@pytest.fixture
def stage() -> Stage:
    return Stage(MemoryEtcd())


def left_over(epoch: int) -> FakeRoom:
    return FakeRoom(f"onair/j1/blue/{epoch}", "", room_secret(MASTER, BLUE, epoch))


async def test_unknown_rooms_end_after_two_sweeps_and_strangers_never(
    stage: Stage, janus: FakeJanus
) -> None:
    stranger = FakeRoom("Demo Room", "", "")
    janus.rooms |= {1234: stranger, 100_000: left_over(1)}
    async with running(stage.etcd, janus):
        await anyio.sleep(SWEEP_SECONDS + 5)
        assert len(janus.rooms) == 2
        await anyio.sleep(SWEEP_SECONDS)
    assert janus.rooms == {1234: stranger}


async def test_an_etcd_younger_than_a_room_is_not_believed(stage: Stage, janus: FakeJanus) -> None:
    janus.rooms[100_000] = left_over(20)
    async with running(stage.etcd, janus):
        await anyio.sleep(5 * SWEEP_SECONDS)
        while await stage.revision() < 30:  # it catches up, which proves nothing
            await stage.start("red")
            await stage.stop("red")
        await anyio.sleep(5 * SWEEP_SECONDS)
    assert 100_000 in janus.rooms


async def test_a_listing_does_not_undo_what_happened_meanwhile(janus: FakeJanus) -> None:
    inventory = Inventory(janus, lambda *room: room_secret(MASTER, *room))
    inventory.put(RED, Present(100_001, Epoch(2)))
    janus.latency = 1.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inventory.relist)
        await anyio.sleep(0.5)
        inventory.put(BLUE, Present(100_000, Epoch(1)))
        inventory.doubt(BLUE)
    assert inventory.rooms() == {BLUE}
    assert inventory.is_doubted(BLUE)
    await inventory.relist()
    assert inventory.rooms() == set()
    assert not inventory.is_doubted(BLUE)

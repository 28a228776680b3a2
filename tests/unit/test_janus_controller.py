"""The Janus manager at work on a fake Janus and etcd, in virtual time (I5, I7, I9, I10, I14)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from janusmanager.api import Forwarder, JanusRefusedError, Marker
from janusmanager.controller import JanusController
from janusmanager.housekeeping import SWEEP_SECONDS
from janusmanager.messages import forwarder_ssrc, room_number
from pkg import keys
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Desired, Endpoints, Epoch, JanusStatus, Kind, ModuleId, Previous, RoomId
from pkg.secrets import host_pin, room_secret
from tests.support.fake_janus import DEADLINE_SECONDS, FakeJanus, FakeRoom, Mishap
from tests.support.janus_stage import HERE, J1, MASTER, Stage, eventually, running

pytestmark = pytest.mark.anyio

PORT = 30_000
SLOT = keys.slot(Kind.JANUS, J1, 0)


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


@pytest.fixture
def janus() -> FakeJanus:
    return FakeJanus(J1)


@pytest.fixture
def stage(etcd: MemoryEtcd) -> Stage:
    return Stage(etcd)


@asynccontextmanager
async def on_air(stage: Stage, janus: FakeJanus) -> AsyncGenerator[JanusController]:
    """A manager with the room `blue` on air."""
    async with running(stage.etcd, janus) as controller:
        await stage.start("blue", mixer_port=PORT)
        await stage.forwarding("blue")
        yield controller


def the_room(janus: FakeJanus) -> FakeRoom:
    (room,) = janus.rooms.values()
    return room


async def ended(stage: Stage, janus: FakeJanus) -> None:
    """Wait until nothing of any room is left: no slot, no key, no AudioBridge room."""
    with anyio.fail_after(30):
        while janus.rooms or await stage.slots() or await stage.state("blue"):
            await anyio.sleep(0.01)


async def test_a_start_makes_the_room_and_forwards_it_once(stage: Stage, janus: FakeJanus) -> None:
    async with running(stage.etcd, janus):
        epoch = await stage.start("blue")
        await eventually(lambda: bool(janus.rooms), within=1)
        await stage.mix("blue", PORT)
        await stage.forwarding("blue", within=0.1)
    room, state = the_room(janus), await stage.state("blue")
    assert room.description == f"onair/j1/blue/{epoch}"
    assert room.pin == host_pin(MASTER, "blue", epoch)
    assert room.secret == room_secret(MASTER, "blue", epoch)
    (forwarder,) = room.forwarders.values()
    assert (forwarder.host, forwarder.port) == (HERE, PORT)
    assert forwarder.ssrc == forwarder_ssrc(RoomId("blue"), epoch)
    assert state is not None
    assert [state.janus_room_id] == list(janus.rooms)
    assert 100_000 <= state.janus_room_id <= 999_999


async def test_a_start_is_told_twice_at_most_and_then_nothing_is_written(
    stage: Stage, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        revision, calls = await stage.revision(), dict(janus.calls)
        await anyio.sleep(3 * SWEEP_SECONDS + 1)
        assert await stage.revision() == revision
    changing = ("create", "destroy", "rtp_forward", "stop_rtp_forward")
    assert {name: janus.calls.get(name) for name in changing} == {
        name: calls.get(name) for name in changing
    }


async def test_a_known_mixer_costs_one_write(stage: Stage, janus: FakeJanus) -> None:
    await stage.start("blue", mixer_port=PORT)
    before = await stage.revision()
    async with running(stage.etcd, janus):
        await stage.forwarding("blue")
    assert await stage.revision() == before + 1
    assert janus.calls["create"] == janus.calls["rtp_forward"] == 1


async def test_stop_frees_the_place_and_the_key(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus) as controller:
        await stage.stop("blue")
        await ended(stage, janus)
        await eventually(lambda: not following(controller, "blue"), within=1)


def following(controller: JanusController, room: str) -> bool:
    return controller.assignments.informer.is_listed(keys.room_prefix(RoomId(room)))


async def test_two_rooms_start_at_once(stage: Stage, janus: FakeJanus) -> None:
    janus.latency = 0.2
    async with running(stage.etcd, janus):
        await stage.start("blue", mixer_port=PORT)
        await stage.start("red", slot=1, mixer_port=PORT + 2)
        began = anyio.current_time()
        await stage.forwarding("blue", "red")
        assert anyio.current_time() - began < 0.2 * 5  # create, list, forward: not one by one
    assert len(janus.rooms) == 2


async def test_a_restarted_janus_gets_its_rooms_back(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        await stage.start("red", slot=1, mixer_port=PORT + 2)
        await stage.forwarding("blue", "red")
        janus.restart()
        await eventually(lambda: len(janus.rooms) == 2, within=0.1)
        await eventually(lambda: all(r.forwarders for r in janus.rooms.values()), within=0.1)
        await stage.forwarding("blue", "red")


async def test_while_janus_is_down_nothing_is_concluded(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        before = await stage.state("blue")
        janus.down()
        await stage.start("red", slot=1, mixer_port=PORT + 2)
        await anyio.sleep(60)
        assert await stage.state("blue") == before
        assert set(await stage.slots()) == {"blue", "red"}
        janus.up()
        await stage.forwarding("blue", "red", within=3)
    assert len(janus.rooms) == 2


async def test_stopped_while_janus_is_down_it_keeps_its_place(
    stage: Stage, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        janus.freeze()
        await stage.stop("blue")
        await anyio.sleep(60)
        assert await stage.slots()
        janus.freeze(frozen=False)
        await ended(stage, janus)


@pytest.mark.parametrize("late", [0.0, DEADLINE_SECONDS - 1, DEADLINE_SECONDS + 1])
async def test_a_create_whose_answer_is_lost_makes_one_room(
    stage: Stage, janus: FakeJanus, late: float
) -> None:
    janus.spoil("create", Mishap(late=late))
    async with on_air(stage, janus):
        await anyio.sleep(2 * SWEEP_SECONDS)
    assert len(the_room(janus).forwarders) == 1


async def test_a_create_that_comes_after_the_stop_is_found(stage: Stage, janus: FakeJanus) -> None:
    janus.spoil("create", Mishap(late=DEADLINE_SECONDS + 4))
    async with running(stage.etcd, janus):
        await stage.start("blue")
        await eventually(lambda: janus.calls.get("create") == 1, within=1)
        await stage.stop("blue")
        await anyio.sleep(DEADLINE_SECONDS + 5 + 3 * SWEEP_SECONDS)
        await ended(stage, janus)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_forward_whose_answer_is_lost_makes_one_forwarder(
    stage: Stage, janus: FakeJanus, executed: bool
) -> None:
    janus.spoil("rtp_forward", Mishap(executed=executed))
    async with on_air(stage, janus):
        assert len(the_room(janus).forwarders) == 1


async def test_a_number_that_is_taken_is_left_alone(stage: Stage, janus: FakeJanus) -> None:
    async with running(stage.etcd, janus):
        await anyio.sleep(1)
        marker = Marker(J1, RoomId("blue"), Epoch(await stage.revision()))
        stranger = FakeRoom("Demo Room", "", "")
        janus.rooms[room_number(marker)] = stranger
        await stage.start("blue", mixer_port=PORT)
        await stage.forwarding("blue")
    assert janus.rooms[room_number(marker)] is stranger
    assert janus.rooms[room_number(marker, 1)].forwarders


async def test_a_room_destroyed_behind_our_back_comes_back(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        janus.rooms.clear()
        await eventually(lambda: bool(janus.rooms), within=SWEEP_SECONDS + 1)
        await eventually(lambda: bool(the_room(janus).forwarders), within=1)


async def test_a_moved_mixer_finds_the_room_gone_and_gets_the_new_one(
    stage: Stage, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        janus.rooms.clear()
        epoch = Epoch(await stage.revision())
        await stage.rewrite("blue", mixer_id=ModuleId("m2"), mixer_epoch=epoch)
        await stage.mix("blue", PORT + 10)
        await stage.forwarding("blue", within=1)
    assert [f.port for f in the_room(janus).forwarders.values()] == [PORT + 10]


async def test_mixers_are_swapped_make_before_break(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        live, epoch = await stage.live("blue"), Epoch(await stage.revision())
        previous = Previous(
            mixer_id=live.mixer_id, epoch=live.mixer_epoch, slot=0, endpoints=Endpoints()
        )
        await stage.rewrite("blue", mixer_epoch=epoch, previous=previous)
        await stage.mix("blue", PORT + 10)
        await stage.forwarding("blue", within=1)
        ports = {f.port for f in the_room(janus).forwarders.values()}
        assert ports == {PORT, PORT + 10}
        await stage.rewrite("blue", previous=None)
        await eventually(lambda: len(the_room(janus).forwarders) == 1, within=1)
    assert [f.port for f in the_room(janus).forwarders.values()] == [PORT + 10]


async def test_an_outage_of_etcd_changes_nothing_in_janus(
    stage: Stage, etcd: MemoryEtcd, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        before = the_room(janus)
        etcd.outage(down=True)
        await anyio.sleep(7 * 60)
        assert the_room(janus) is before
        etcd.outage(down=False)
        await stage.stop("blue")
        await ended(stage, janus)


async def test_a_new_manager_adopts_what_runs(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        before = the_room(janus)
    async with running(stage.etcd, janus):
        await anyio.sleep(2 * SWEEP_SECONDS)
        await stage.forwarding("blue")
    assert the_room(janus) is before
    assert janus.calls["create"] == janus.calls["rtp_forward"] == 1


async def test_what_was_stopped_while_we_were_away_ends(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        pass
    await stage.stop("blue")
    async with running(stage.etcd, janus):
        await ended(stage, janus)


async def test_a_lost_place_ends_nothing_that_livemeta_names(
    stage: Stage, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        await stage.lose(SLOT)
        await anyio.sleep(4 * SWEEP_SECONDS)
        assert the_room(janus).forwarders
        await stage.stop("blue")
        await ended(stage, janus)


async def test_a_forwarder_of_a_stranger_stays(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        the_room(janus).forwarders[99] = Forwarder(99, "10.0.0.1", 5_000, 77)
        await anyio.sleep(3 * SWEEP_SECONDS)
        assert 99 in the_room(janus).forwarders


async def test_one_broken_record_fails_its_room_only(
    stage: Stage, etcd: MemoryEtcd, janus: FakeJanus
) -> None:
    async with on_air(stage, janus):
        room = the_room(janus)
        await stage.break_key("/rooms/blue/mixer")
        await stage.start("red", slot=1, mixer_port=PORT + 2)
        await stage.forwarding("red")
        assert room.forwarders
        await stage.stop("blue")
        await eventually(lambda: len(janus.rooms) == 1, within=1)


async def test_a_broken_key_of_ours_is_written_anew(stage: Stage, janus: FakeJanus) -> None:
    async with on_air(stage, janus):
        await stage.break_key("/rooms/blue/janus")
        await anyio.sleep(1)
        await stage.forwarding("blue")


async def test_why_a_forward_fails_is_told(stage: Stage, janus: FakeJanus) -> None:
    async with running(stage.etcd, janus):
        await stage.start("blue")
        await eventually(lambda: bool(janus.rooms), within=1)
        await anyio.sleep(1)
        janus.spoil("rtp_forward", *[Mishap(executed=False)] * 3)
        await stage.mix("blue", PORT)
        await anyio.sleep(DEADLINE_SECONDS + 1)
        state = await stage.state("blue")
        assert state is not None
        assert state.status is JanusStatus.ROOM_CREATED
        assert "did not answer" in (state.reason or "")
        await stage.forwarding("blue", within=20)
        state = await stage.state("blue")
        assert state is not None
        assert state.reason is None
        revision = await stage.revision()
        await stage.mix("blue", PORT + 2)  # one write; what went wrong once is forgotten
        await anyio.sleep(1)
        assert await stage.revision() == revision + 1


async def test_a_refusal_at_the_start_ends_the_start(stage: Stage, janus: FakeJanus) -> None:
    janus.refuse("wrong admin key")
    with pytest.RaisesGroup(pytest.RaisesExc(JanusRefusedError, match="wrong admin key")):
        async with running(stage.etcd, janus):
            await anyio.sleep(1)


async def test_nothing_is_asked_of_a_room_that_is_being_removed(
    stage: Stage, janus: FakeJanus
) -> None:
    await stage.start("blue", mixer_port=PORT)
    await stage.rewrite("blue", status=Desired.REMOVING)
    async with running(stage.etcd, janus):
        await ended(stage, janus)
    assert "create" not in janus.calls

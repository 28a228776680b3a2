"""What a hand or a bug broke in etcd is put right, and no room on air pays for it (I2, I5)."""

import anyio
import pytest

from pkg import keys
from pkg.model import Desired, Endpoints, Epoch, Kind, ModuleId, Previous, RoomId, Slot
from roommanager.execute import ENDED_SECONDS
from roommanager.housekeeping import SWEEP_SECONDS
from tests.support.keeping import House, house
from tests.support.virtual import BLUE, J1, M1, M2, live_of, put, until

pytestmark = pytest.mark.anyio
RED, GREEN = RoomId("red"), RoomId("green")
SOON = 3 * SWEEP_SECONDS + 5  # two sweeps after the next one
KINDS = list(Kind)


async def quiet(it: House) -> None:
    """Once the after-lives are over, nothing more is written."""
    await anyio.sleep(ENDED_SECONDS + 1)
    revision = it.store.revision
    await anyio.sleep(5 * SWEEP_SECONDS)
    assert it.store.revision == revision


# -- rooms without their place -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_room_on_air_gets_its_place_back(kind: Kind) -> None:
    async with house() as it:
        await it.on_air("blue", "red")
        before = live_of(it.store)
        await it.write(it.slot_key(kind, BLUE), None)
        await anyio.sleep(SWEEP_SECONDS - 1)
        assert not it.has_place(kind, BLUE), "one sweep proves nothing"
        await until(lambda: it.has_place(kind, BLUE), within=SOON)
        assert live_of(it.store) == before
        await quiet(it)


@pytest.mark.parametrize("kind", KINDS)
async def test_if_another_has_its_place_it_gets_a_free_one_of_the_same_module(kind: Kind) -> None:
    async with house() as it:
        await it.on_air("blue")
        before, key = live_of(it.store), it.slot_key(kind, BLUE)
        await it.write(key, None)
        await _occupy(it, kind, RED)
        await until(lambda: it.has_place(kind, BLUE), within=SOON)
        after = live_of(it.store)
        assert after.slot(kind) != before.slot(kind)
        assert after == before.model_copy(update={f"{kind}_slot": after.slot(kind)})
        assert it.has_place(kind, RED)
        await quiet(it)


async def _occupy(it: House, kind: Kind, room_id: RoomId) -> None:
    """Put the room on air; blue's former place is its own."""
    blue = live_of(it.store)
    await it.on_air(room_id)
    key, live = it.slot_key(kind, room_id), live_of(it.store, room_id)
    place = keys.slot(kind, blue.module(kind), blue.slot(kind))
    moved = live.model_copy(update={f"{kind}_slot": blue.slot(kind)})
    await put(it.modules.etcd, place, Slot(room_id=room_id, epoch=live.half_epoch(kind)))
    await put(it.modules.etcd, keys.room(room_id, "livemeta"), moved)
    if key != place:
        await it.write(key, None)


async def test_a_capacity_that_cannot_be_keeps_nobody_from_mending() -> None:
    """It must not be counted through, place by place; and nobody is moved for it, either."""
    async with house() as it:
        await it.on_air("blue")
        await it.modules.register(Kind.MIXER, M1, 10**12)
        await put(it.modules.etcd, it.slot_key(Kind.MIXER, BLUE), Slot(room_id=RED, epoch=Epoch(9)))
        it.modules.stuck.add(M1)
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert (it.has_place(Kind.MIXER, BLUE), it.displaced) == (False, [])
        await it.modules.register(Kind.MIXER, M1, 4)
        await until(lambda: it.has_place(Kind.MIXER, BLUE), within=SOON)


async def test_if_its_module_is_full_the_room_is_to_move() -> None:
    async with house(capacity=1) as it:
        await it.on_air("blue")
        before = live_of(it.store)
        await it.modules.register(Kind.MIXER, M2, 1)
        await it.modules.register(Kind.JANUS, ModuleId("j2"), 1)
        await put(it.modules.etcd, it.slot_key(Kind.MIXER, BLUE), Slot(room_id=RED, epoch=Epoch(9)))
        it.modules.stuck.add(M1)
        await until(lambda: bool(it.displaced), within=SOON)
        assert (it.displaced[0].room_id, it.displaced[0].kind) == (BLUE, Kind.MIXER)
        assert live_of(it.store) == before
        assert len(it.slots(Kind.MIXER, M1)) == 1


async def test_the_place_of_a_mixer_that_is_being_replaced_is_given_back_too() -> None:
    async with house() as it:
        await it.on_air("blue")
        await it.modules.register(Kind.MIXER, M2, 4)
        it.modules.stuck |= {M1, M2}  # the old one goes on, the new one has not begun
        await it.write(keys.room(BLUE, "mixer"), None)
        old = Previous(mixer_id=M2, epoch=Epoch(2), slot=3, endpoints=Endpoints())
        live = live_of(it.store).model_copy(update={"previous": old})
        await put(it.modules.etcd, keys.room(BLUE, "livemeta"), live)
        await until(lambda: it.slots(Kind.MIXER, M2) != [], within=SOON)
        kv = it.store.get(keys.slot(Kind.MIXER, M2, 3))
        assert kv is not None
        assert Slot.decode(kv.value) == Slot(room_id=BLUE, epoch=Epoch(2))
        await quiet(it)


async def test_nothing_is_given_on_a_module_that_is_away() -> None:
    async with house() as it:
        await it.on_air("blue")
        await it.write(it.slot_key(Kind.MIXER, BLUE), None)
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert it.slots(Kind.MIXER, M1) == []


async def test_a_place_it_holds_already_is_named_if_its_own_is_taken() -> None:
    async with house() as it:
        await it.on_air("blue")
        live = live_of(it.store)
        other = keys.slot(Kind.MIXER, M1, (live.mixer_slot + 1) % 4)
        await put(it.modules.etcd, other, Slot(room_id=BLUE, epoch=live.mixer_epoch))
        it.modules.stuck.add(M1)
        await put(it.modules.etcd, it.slot_key(Kind.MIXER, BLUE), Slot(room_id=RED, epoch=Epoch(9)))
        await until(lambda: it.slot_key(Kind.MIXER, BLUE) == other, within=SOON)
        assert len(it.slots(Kind.MIXER, M1)) == 2


# -- places without their room -----------------------------------------------------------------


async def test_a_place_beside_the_right_one_is_freed() -> None:
    async with house() as it:
        await it.on_air("blue")
        live = live_of(it.store)
        other = keys.slot(Kind.MIXER, M1, (live.mixer_slot + 1) % 4)
        await put(it.modules.etcd, other, Slot(room_id=BLUE, epoch=live.mixer_epoch))
        await until(lambda: it.store.get(other) is None, within=SOON)
        assert it.has_place(Kind.MIXER, BLUE)
        await quiet(it)


async def test_a_living_module_gives_back_its_places_itself() -> None:
    async with house() as it:
        it.modules.stuck.add(M1)
        leaked = keys.slot(Kind.MIXER, M1, 2)
        await put(it.modules.etcd, leaked, Slot(room_id=BLUE, epoch=Epoch(2)))
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert it.store.get(leaked) is not None, "something may still run there"


async def test_places_of_a_module_that_is_gone_for_good_are_freed() -> None:
    async with house() as it:
        await it.on_air("blue")
        named = it.slot_key(Kind.MIXER, BLUE)
        for number in range(4):
            key = keys.slot(Kind.MIXER, M1, number)
            if key != named:
                await put(it.modules.etcd, key, Slot(room_id=RED, epoch=Epoch(2)))
        it.modules.stuck.add(M1)
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await until(lambda: it.slots(Kind.MIXER, M1) == [named], within=SOON)


@pytest.mark.parametrize("desired", [Desired.ONAIR, Desired.STOPPING])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_place_that_cannot_be_read_is_written_as_its_room_says(
    kind: Kind, desired: Desired
) -> None:
    async with house() as it:
        await it.on_air("blue")
        await it.write(it.slot_key(kind, BLUE), b"{")
        if desired is Desired.STOPPING:
            await it.manager.wishes.stop(BLUE)
            await until(lambda: not it.store.get(keys.room(BLUE, "livemeta")), within=SOON)
            assert it.slots(Kind.JANUS, J1) == it.slots(Kind.MIXER, M1) == []
        else:
            await until(lambda: it.has_place(kind, BLUE), within=SOON)
        await quiet(it)


async def test_a_place_that_cannot_be_read_and_no_room_names_is_freed() -> None:
    async with house() as it:
        await it.on_air("blue")
        nobodys = keys.slot(Kind.JANUS, J1, (live_of(it.store).janus_slot + 1) % 4)
        await it.write(nobodys, b"null")
        await until(lambda: it.store.get(nobodys) is None, within=SOON)
        await quiet(it)


async def test_while_a_wish_cannot_be_read_its_places_are_left_alone() -> None:
    async with house() as it:
        await it.on_air("blue")
        live = live_of(it.store)
        await it.write(keys.room(BLUE, "livemeta"), b"{")
        await it.write(keys.slot(Kind.JANUS, J1, live.janus_slot), b"{")
        await it.write(keys.heartbeat(Kind.MIXER, M1), None)
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert len(it.slots(Kind.JANUS, J1)) == len(it.slots(Kind.MIXER, M1)) == 1


async def test_keys_onair_did_not_make_are_not_touched() -> None:
    """I10: names it would not choose, leaves it does not know, rooms it could not have."""
    strange = ["/modules/mixer/m1/slots/007", "/rooms/x/notes", "/rooms/-x/janus", "/elsewhere"]
    async with house() as it:
        for key in strange:
            await it.write(key, b"{")
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert all(it.store.get(key) for key in strange)


# -- keys of rooms that are not ----------------------------------------------------------------


@pytest.mark.parametrize("exists", [False, True])
async def test_reports_on_rooms_that_are_not_started_are_deleted(exists: bool) -> None:
    async with house() as it:
        if exists:
            await it.manager.wishes.create(BLUE, None, {})
        for leaf in ("janus", "mixer"):
            await it.write(f"/rooms/blue/{leaf}", b"{}")
        left = 1 if exists else 0
        await until(lambda: len(list(it.store.under("/rooms/"))) == left, within=SOON)
        await quiet(it)


async def test_a_room_whose_place_was_lost_while_it_ends_comes_to_its_end() -> None:
    async with house() as it:
        await it.on_air("blue")
        it.modules.stuck |= {J1, M1}
        await it.manager.wishes.delete(BLUE)
        for kind in Kind:
            await it.write(it.slot_key(kind, BLUE), None)
        await until(lambda: not list(it.store.under("/rooms/")), within=SOON)


async def test_a_report_waits_for_its_module_to_give_back_the_place() -> None:
    async with house() as it:
        it.modules.stuck.add(M1)
        await put(it.modules.etcd, keys.slot(Kind.MIXER, M1, 0), Slot(room_id=BLUE, epoch=Epoch(2)))
        await it.write("/rooms/blue/mixer", b"{}")
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert it.store.get("/rooms/blue/mixer") is not None


@pytest.mark.parametrize("value", [None, b"{"])
async def test_a_wish_for_a_room_that_does_not_exist_ends_the_normal_way(
    value: bytes | None,
) -> None:
    async with house() as it:
        await it.on_air("blue", "red")
        if value is not None:
            await it.write(keys.room(BLUE, "livemeta"), value)
        await it.write(keys.room(BLUE, "meta"), None)
        await until(lambda: not list(it.store.under("/rooms/blue/")), within=2 * SOON)
        assert len(it.slots(Kind.MIXER, M1)) == len(it.slots(Kind.JANUS, J1)) == 1
        assert it.has_place(Kind.MIXER, RED)
        await quiet(it)

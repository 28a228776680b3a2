"""A report that cannot be read says nothing, and keeps no room where it is (I7, I14)."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Kind, ModuleId
from roommanager.status import RoomStatus
from roommanager.verdict import Answer
from tests.support.stage import Stage, stage
from tests.support.virtual import BLUE, J1, J2, M1, M2, live_of, seen, stored, until

pytestmark = pytest.mark.anyio
LEAVES: dict[Kind, keys.RoomLeaf] = {Kind.JANUS: "janus", Kind.MIXER: "mixer"}
HALVES = [(Kind.MIXER, M1, M2), (Kind.JANUS, J1, J2)]
POISON = [b"{", b"{}", b"null", b"\xff"]


async def poison(on: Stage, kind: Kind, module_id: ModuleId, value: bytes = b"{") -> None:
    """By a module that does nothing more."""
    on.modules.stuck.add(module_id)
    await MemoryEtcd(on.store).txn([], [Put(keys.room(BLUE, LEAVES[kind]), value)])
    await seen(on.one)


@pytest.mark.parametrize("value", POISON)
@pytest.mark.parametrize(("kind", "module_id", "other"), HALVES)
async def test_a_dead_modules_room_moves_all_the_same(
    kind: Kind, module_id: ModuleId, other: ModuleId, value: bytes
) -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(kind, other, 5)
        await poison(on, kind, module_id, value)
        on.modules.deaf.add(BLUE)  # the new one has not begun
        await on.loses(kind, module_id, Answer.REFUSED)
        await until(lambda: live_of(on.store).module(kind) == other, within=2)
        assert on.store.get(keys.room(BLUE, LEAVES[kind])) is None, "deleted with the move"
        assert on.slots(kind, module_id) == 0
        on.modules.deaf.clear()
        on.store.wake()
        await until(lambda: on.status() is RoomStatus.ONAIR)


@pytest.mark.parametrize(("kind", "module_id", "other"), HALVES)
async def test_until_then_nothing_is_known_and_explain_says_so(
    kind: Kind, module_id: ModuleId, other: ModuleId
) -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(kind, other, 5)
        before = live_of(on.store)
        await poison(on, kind, module_id)
        assert on.status() is RoomStatus.DEGRADED
        told = await on.explain()
        assert f"What {kind} {module_id} reported cannot be read (/rooms/blue/{kind} is not" in told
        await anyio.sleep(60)
        assert live_of(on.store) == before, "a living module writes it anew by itself"


@pytest.mark.parametrize("verb", ["stop", "delete"])
@pytest.mark.parametrize(("kind", "module_id"), [half[:2] for half in HALVES])
async def test_an_end_waits_for_the_living_and_not_for_the_dead(
    kind: Kind, module_id: ModuleId, verb: str
) -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await poison(on, kind, module_id)
        await getattr(on.one.wishes, verb)(BLUE)
        await anyio.sleep(60)
        assert f"Waiting for {kind} {module_id} to end its part" in await on.explain()
        await on.loses(kind, module_id, Answer.REFUSED)
        await until(lambda: on.store.get(keys.room(BLUE, "livemeta")) is None, within=2)
        left = [keys.room(BLUE, "meta")] if verb == "stop" else []
        assert stored(on.store, keys.room_prefix(BLUE)) == left
        assert on.slots(kind, module_id) == 0


async def test_a_report_without_its_place_still_keeps_a_room_from_its_end() -> None:
    """Its module may be about to withdraw it."""
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await poison(on, Kind.MIXER, M1)
        await on.one.wishes.delete(BLUE)
        place = keys.slot(Kind.MIXER, M1, live_of(on.store).mixer_slot)
        await MemoryEtcd(on.store).txn([], [Delete(place)])
        await anyio.sleep(60)
        assert on.status() is RoomStatus.REMOVING

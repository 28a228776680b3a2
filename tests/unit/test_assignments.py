"""What a module concludes from its slots and rooms, and the writes it may make (I1, I4)."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.assignments import Assigned, Assignments
from pkg.etcd.api import ConflictError, Delete, Op, Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.informer import UndecodableError
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    Kind,
    LiveMeta,
    MixerState,
    ModuleId,
    Previous,
    RoomId,
    Slot,
)
from pkg.workqueue import WorkQueue
from tests.support.virtual import BLUE, J1, M1, M2, observed, put, until

pytestmark = pytest.mark.anyio
SLOT_0 = keys.slot(Kind.MIXER, M1, 0)
STATE = keys.room(BLUE, "mixer")


def wish(epoch: int, status: Desired = Desired.ONAIR, mixer: ModuleId = M1) -> LiveMeta:
    return LiveMeta(
        room_id=BLUE,
        status=status,
        janus_id=J1,
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=mixer,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce="n",
        started_at="",
    )


def wished(live: LiveMeta) -> Op:
    return Put(keys.room(live.room_id, "livemeta"), live.encode())


def taken(number: int, epoch: int, room_id: RoomId = BLUE) -> Op:
    slot = Slot(room_id=room_id, epoch=Epoch(epoch))
    return Put(keys.slot(Kind.MIXER, M1, number), slot.encode())


class Scene:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.other = MemoryEtcd(self.store)
        self.queue: WorkQueue[str] = WorkQueue(random.Random(1))
        etcd = MemoryEtcd(self.store)
        self.share = Assignments(etcd, Kind.MIXER, M1, self.queue, random.Random(1))

    async def write(self, *ops: Op) -> None:
        await self.other.txn([], ops)
        await anyio.sleep(0.1)

    def get(self, room_id: RoomId = BLUE) -> Assigned:
        assigned = self.share.get(room_id)
        assert assigned is not None
        return assigned

    async def queued(self) -> set[str]:
        found = set()
        while len(self.queue):
            key = await self.queue.get()
            self.queue.done(key)
            found.add(key)
        return found


@asynccontextmanager
async def scene() -> AsyncGenerator[Scene]:
    found = Scene()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.share.informer.run)
        await found.share.informer.synced.wait()
        yield found
        tasks.cancel_scope.cancel()


async def test_a_place_appears_and_its_room_is_followed() -> None:
    async with scene() as s:
        assert s.share.get(BLUE) is None, "nothing is known, so nothing may be concluded"
        await s.write(wished(wish(5)), taken(0, 5))
        assert s.share.rooms() == {BLUE}
        assert s.get().wanted == 5
        assert await s.queued() == {BLUE}
        await s.write(Delete(SLOT_0))
        assert s.share.rooms() == set()
        assert s.get().wanted is None, "still followed, until somebody has seen the end of it"
        assert await s.queued() == {BLUE}
        s.share.unfollow(BLUE)
        assert s.share.get(BLUE) is None


async def test_a_held_room_cannot_be_unfollowed() -> None:
    async with scene() as s:
        await s.write(wished(wish(5)), taken(0, 5))
        s.share.unfollow(BLUE)
        assert s.get().wanted == 5


async def test_others_slots_and_rooms_are_not_ours() -> None:
    async with scene() as s:
        slot = Slot(room_id=BLUE, epoch=Epoch(5))
        await s.write(
            Put(keys.slot(Kind.JANUS, ModuleId("m1"), 0), slot.encode()),
            Put(keys.slot(Kind.MIXER, ModuleId("m10"), 0), slot.encode()),
        )
        assert s.share.rooms() == set()
        assert await s.queued() == set()


@pytest.mark.parametrize(
    ("live", "held", "wanted", "keep"),
    [
        (wish(5), {0: 5}, 5, set()),
        (wish(5), {0: 4}, None, set()),
        (wish(5), {0: 4, 1: 5}, 5, set()),
        (wish(5, mixer=M2), {0: 5}, None, set()),
        (wish(5, Desired.STOPPING), {0: 5}, None, {5}),
        (wish(5, Desired.STOPPING, M2), {0: 5}, None, set()),
        (wish(5, Desired.REMOVING), {0: 5}, None, set()),
        (None, {0: 5}, None, set()),
    ],
)
async def test_what_is_wanted_and_what_is_kept(
    live: LiveMeta | None, held: dict[int, int], wanted: int | None, keep: set[int]
) -> None:
    async with scene() as s:
        ops = [taken(number, epoch) for number, epoch in held.items()]
        await s.write(*ops, *([wished(live)] if live else []))
        assigned = s.get()
        assert assigned.wanted == wanted
        assert set(assigned.keep) == keep
        assert {h.number: h.epoch for h in assigned.held} == held
        assert all(assigned.holds(Epoch(epoch)) for epoch in held.values())


def replacing(epoch: int, by: LiveMeta, mixer: ModuleId = M1) -> LiveMeta:
    """``by``, while the mixer of ``epoch`` is still fed and served."""
    old = Previous(mixer_id=mixer, epoch=Epoch(epoch), slot=0, endpoints=Endpoints())
    return by.model_copy(update={"previous": old})


@pytest.mark.parametrize(
    ("live", "wanted", "leaving", "keep"),
    [
        (replacing(5, wish(7, mixer=M2)), None, 5, set()),
        (replacing(5, wish(7)), 7, 5, set()),
        (replacing(5, wish(7), M2), 7, None, set()),
        (replacing(5, wish(7, Desired.STOPPING, M2)), None, None, {5}),
        (replacing(5, wish(7, Desired.STOPPING)), None, None, {5, 7}),
        (replacing(5, wish(7, Desired.REMOVING, M2)), None, None, set()),
    ],
)
async def test_what_is_replaced_here_leaves_until_livemeta_forgets_it(
    live: LiveMeta, wanted: int | None, leaving: int | None, keep: set[int]
) -> None:
    async with scene() as s:
        await s.write(wished(live), taken(0, 5), taken(1, 7))
        assigned = s.get()
        assert (assigned.wanted, assigned.leaving) == (wanted, leaving)
        assert set(assigned.keep) == keep


async def test_only_mixers_are_replaced_make_before_break() -> None:
    async with scene() as s:
        share = Assignments(s.other, Kind.JANUS, M1, s.queue, random.Random(1))
        s.share = share
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(share.informer.run)
            share.follow(BLUE)
            await s.write(wished(replacing(5, wish(7))))
            assert s.get().leaving is None
            tasks.cancel_scope.cancel()


async def test_a_place_that_changes_hands_concerns_both_rooms() -> None:
    red = RoomId("red")
    async with scene() as s:
        await s.write(wished(wish(5)), taken(0, 5))
        await s.queued()
        await s.write(taken(0, 6, red))
        assert s.share.rooms() == {red}
        assert await s.queued() == {BLUE, red}


async def test_a_report_lands_only_while_the_wish_stands() -> None:
    async with scene() as s:
        await s.write(wished(wish(5)), taken(0, 5))
        before = s.get()
        state = observed(Kind.MIXER, wish(5))
        await s.share.report(before, "mixer", state)
        assert s.share.informer.record(STATE, MixerState) == state, "the copy shows it already"
        await s.other.txn([], [wished(wish(5, Desired.STOPPING))])
        with pytest.raises(ConflictError):
            await s.share.report(before, "mixer", state)


async def test_a_report_lands_only_while_the_place_is_held() -> None:
    async with scene() as s:
        await s.write(wished(wish(5)), taken(0, 5))
        before = s.get()
        await s.other.txn([], [Delete(SLOT_0)])
        with pytest.raises(ConflictError):
            await s.share.report(before, "mixer", observed(Kind.MIXER, wish(5)))
        assert s.store.get(STATE) is None


async def test_withdrawing_deletes_what_is_of_those_epochs_and_nothing_else() -> None:
    async with scene() as s:
        await s.write(wished(wish(6)), taken(0, 5), taken(1, 6))
        await put(s.other, STATE, observed(Kind.MIXER, wish(6)))
        await anyio.sleep(0.1)
        await s.share.withdraw(s.get(), "mixer", {Epoch(5)})
        assert s.store.get(SLOT_0) is None
        assert s.store.get(keys.slot(Kind.MIXER, M1, 1)) is not None
        assert s.store.get(STATE) is not None, "it is of epoch 6"
        await s.share.withdraw(s.get(), "mixer", {Epoch(6)})
        assert s.store.get(STATE) is None
        assert s.share.rooms() == set()
        revision = s.store.revision
        await s.share.withdraw(s.get(), "mixer", {Epoch(6)})
        assert s.store.revision == revision


async def test_withdrawing_fails_if_the_observed_key_changed_meanwhile() -> None:
    async with scene() as s:
        await s.write(wished(wish(5)), taken(0, 5))
        await put(s.other, STATE, observed(Kind.MIXER, wish(5)))
        await anyio.sleep(0.1)
        before = s.get()
        await put(s.other, STATE, observed(Kind.MIXER, wish(7)))
        with pytest.raises(ConflictError):
            await s.share.withdraw(before, "mixer", {Epoch(5)})
        assert s.store.get(SLOT_0) is not None


async def test_one_unreadable_key_leaves_the_others_alone() -> None:
    red = RoomId("red")
    async with scene() as s:
        await s.write(
            Put(keys.slot(Kind.MIXER, M1, 3), b"{"),
            Put(keys.slots_prefix(Kind.MIXER, M1) + "x", b"{}"),
            Put(keys.slots_prefix(Kind.MIXER, M1) + "1/2", b"{}"),
            Put(keys.slots_prefix(Kind.MIXER, M1) + "9" * 5000, b"{}"),
            Put(keys.room(red, "livemeta"), b"{"),
            taken(1, 5, red),
            wished(wish(5)),
            taken(0, 5),
        )
        await until(lambda: s.share.rooms() == {BLUE, red})
        assert s.get().wanted == 5
        with pytest.raises(UndecodableError):
            s.share.get(red)

"""Which places are chosen, refused, or being claimed right now (I2)."""

import random
from collections.abc import Mapping

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg import keys
from pkg.etcd.api import KV
from pkg.model import Epoch, Kind, Mark, MarkRecord, ModuleId, Record, RoomId, Slot
from pkg.schedule import Policy
from roommanager.allocator import Allocator, BusyError, NoCapacityError
from roommanager.fleet import Fleet
from tests.support.virtual import J1, J2, M1, M2, heartbeat

pytestmark = pytest.mark.anyio


def kv(key: str, record: Record, revision: int = 3) -> KV:
    return KV(key, record.encode(), 1, revision)


def module(
    kind: Kind,
    module_id: ModuleId,
    capacity: int,
    *taken: int,
    mark: Mark | None = None,
    reason: str | None = None,
) -> list[KV]:
    found = [kv(keys.heartbeat(kind, module_id), heartbeat(capacity, reason))]
    if mark is not None:
        found.append(kv(keys.mark(kind, module_id), MarkRecord(mark=mark), 4))
    slot = Slot(room_id=RoomId("other"), epoch=Epoch(1))
    return found + [kv(keys.slot(kind, module_id, n), slot) for n in taken]


def allocator(policy: Policy = Policy.LEAST_LOADED) -> Allocator:
    return Allocator(policy, random.Random(1))


ROOMY = module(Kind.JANUS, J1, 9)


def test_a_place_carries_what_its_transaction_must_find_unchanged() -> None:
    fleet = Fleet([*ROOMY, *module(Kind.MIXER, M1, 3, 0, 2, mark=Mark.READY)])
    place = allocator().choose(fleet, 10)[Kind.MIXER]
    assert (place.module_id, place.slot) == (M1, 1)
    assert (place.heartbeat_revision, place.mark_revision) == (3, 4)
    assert place.why == "2 of 3 places used; the only one that can take a room"


@pytest.mark.parametrize(
    ("mixers", "refused"),
    [
        ([], {}),
        (module(Kind.MIXER, M1, 1, 0), {"m1": "its only place is taken"}),
        (module(Kind.MIXER, M1, 0), {"m1": "its capacity is 0"}),
        (module(Kind.MIXER, M1, 2, 5, 6, 7), {"m1": "all 2 places are taken"}),
        (module(Kind.MIXER, M1, 2, reason="disk full"), {"m1": "disk full"}),
        (module(Kind.MIXER, M1, 2, mark=Mark.DRAINING), {"m1": "marked draining by an operator"}),
        (
            module(Kind.MIXER, M2, 1, 0) + module(Kind.MIXER, M1, 2, mark=Mark.DISABLED),
            {"m1": "marked disabled by an operator", "m2": "its only place is taken"},
        ),
    ],
)
def test_a_refusal_names_every_candidate(mixers: list[KV], refused: Mapping[str, str]) -> None:
    with pytest.raises(NoCapacityError) as caught:
        allocator().choose(Fleet([*ROOMY, *mixers]), 10)
    assert caught.value.refused == {Kind.MIXER: refused}
    assert "no mixer can take a room" in str(caught.value)


def test_both_kinds_can_lack_room() -> None:
    with pytest.raises(NoCapacityError) as caught:
        allocator().choose(Fleet(), 10)
    assert set(caught.value.refused) == {Kind.JANUS, Kind.MIXER}


async def test_what_is_being_claimed_is_not_given_twice_and_not_refused_either() -> None:
    fleet = Fleet([*ROOMY, *module(Kind.MIXER, M1, 1)])
    chooser = allocator()
    places = chooser.choose(fleet, 10)
    async with chooser.claiming(places):
        with pytest.raises(BusyError):
            chooser.choose(fleet, 10)
    assert chooser.choose(fleet, 10)[Kind.MIXER].slot == 0, "the claim was lost: it is free again"


async def test_a_claim_that_won_holds_until_the_copy_shows_it() -> None:
    fleet = Fleet([*ROOMY, *module(Kind.MIXER, M1, 1)])
    chooser = allocator()
    async with chooser.claiming(chooser.choose(fleet, 10)) as claim:
        claim.revision = 20
    with pytest.raises(BusyError):
        chooser.choose(fleet, 19)
    chooser.shown(19)
    with pytest.raises(BusyError):
        chooser.choose(fleet, 19)
    assert chooser.choose(fleet, 20), "at 20 it would be there: somebody freed it since"
    chooser.shown(20)
    assert chooser.choose(fleet, 20)
    full = Fleet([*ROOMY, *module(Kind.MIXER, M1, 1, 0)])
    with pytest.raises(NoCapacityError):
        chooser.choose(full, 20)


async def test_who_waits_hears_when_a_claim_is_settled() -> None:
    fleet = Fleet([*ROOMY, *module(Kind.MIXER, M1, 1)])
    chooser = allocator()
    heard: list[str] = []

    async def wait() -> None:
        await chooser.settled()
        heard.append("settled")

    async with anyio.create_task_group() as tasks:
        async with chooser.claiming(chooser.choose(fleet, 10)):
            tasks.start_soon(wait)
            await anyio.sleep(1)
            assert heard == []
        await anyio.sleep(1)
        assert heard == ["settled"]


async def test_a_claim_counts_as_load() -> None:
    fleet = Fleet(
        [*ROOMY, *module(Kind.JANUS, J2, 9), *module(Kind.MIXER, M1, 4), *module(Kind.MIXER, M2, 4)]
    )
    chooser = allocator()
    async with chooser.claiming(chooser.choose(fleet, 10)):
        assert chooser.choose(fleet, 10)[Kind.MIXER].module_id == M2
        assert chooser.choose(fleet, 10)[Kind.JANUS].module_id == J2


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(0, 6))), max_size=4),
    st.sampled_from(Policy),
    st.integers(0, 99),
)
def test_a_chosen_place_is_always_free_and_within_capacity(
    mixers: list[tuple[int, set[int]]], policy: Policy, seed: int
) -> None:
    kvs = list(ROOMY)
    for n, (capacity, taken) in enumerate(mixers):
        kvs += module(Kind.MIXER, ModuleId(f"m{n}"), capacity, *taken)
    fits = [n for n, (capacity, taken) in enumerate(mixers) if len(taken) < capacity]
    try:
        place = Allocator(policy, random.Random(seed)).choose(Fleet(kvs), 10)[Kind.MIXER]
    except NoCapacityError:
        assert not fits
        return
    capacity, taken = mixers[int(place.module_id[1:])]
    assert int(place.module_id[1:]) in fits
    assert place.slot < capacity
    assert place.slot not in taken

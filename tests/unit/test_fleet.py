"""Modules as etcd shows them, fed one key at a time."""

import pytest

from pkg import keys
from pkg.etcd.api import KV
from pkg.model import Epoch, Kind, Mark, MarkRecord, ModuleId, Record, RoomId, Slot
from roommanager.fleet import Fleet, Module
from tests.support.virtual import J1, M1, M2, heartbeat

BEAT, MARK = keys.heartbeat(Kind.MIXER, M1), keys.mark(Kind.MIXER, M1)
SLOT = Slot(room_id=RoomId("blue"), epoch=Epoch(5))


def kv(key: str, value: Record | bytes, revision: int = 7) -> KV:
    return KV(key, value if isinstance(value, bytes) else value.encode(), 1, revision)


def module(*kvs: KV) -> Module:
    found = Fleet(kvs).get(Kind.MIXER, M1)
    assert found is not None
    return found


def test_a_module_is_made_of_its_keys() -> None:
    found = module(
        kv(BEAT, heartbeat(3)),
        kv(MARK, MarkRecord(mark=Mark.DRAINING), 8),
        kv(keys.slot(Kind.MIXER, M1, 2), SLOT),
    )
    assert (found.heartbeat_revision, found.mark, found.mark_revision) == (7, Mark.DRAINING, 8)
    assert found.slots == {2: SLOT}
    candidate = found.candidate(claimed=1)
    assert (candidate.capacity, candidate.used, candidate.mark) == (3, 2, Mark.DRAINING)


def test_a_module_is_forgotten_with_its_last_key() -> None:
    place = keys.slot(Kind.MIXER, M1, 0)
    fleet = Fleet([kv(BEAT, heartbeat(3)), kv(place, SLOT)])
    fleet.apply(BEAT, None)
    found = fleet.get(Kind.MIXER, M1)
    assert found is not None
    assert found.unhealthy == "no heartbeat: it is not running, or cannot reach etcd"
    assert found.candidate().capacity == 0
    fleet.apply(place, None)
    assert fleet.of(Kind.MIXER) == []
    fleet.apply(MARK, None)
    assert fleet.of(Kind.MIXER) == []


@pytest.mark.parametrize(
    ("kvs", "why"),
    [
        ([kv(BEAT, heartbeat(3))], None),
        ([kv(BEAT, heartbeat(3, "disk full"))], "disk full"),
        ([kv(BEAT, heartbeat(-1))], "claims a capacity of less than 0 or more than 100000"),
        ([kv(BEAT, heartbeat(100_001))], "claims a capacity of less than 0 or more than 100000"),
        ([kv(BEAT, heartbeat(10**4000))], "claims a capacity of less than 0 or more than 100000"),
        ([kv(BEAT, heartbeat(100_000))], None),
        ([kv(BEAT, b"{")], "no heartbeat"),
        ([kv(MARK, MarkRecord(mark=Mark.READY))], "no heartbeat"),
    ],
)
def test_why_it_takes_no_rooms(kvs: list[KV], why: str | None) -> None:
    unhealthy = module(*kvs).unhealthy
    assert unhealthy == why or (why and unhealthy and unhealthy.startswith(why))


def test_an_unreadable_mark_keeps_rooms_away_and_an_unreadable_slot_is_taken() -> None:
    found = module(kv(BEAT, heartbeat(1)), kv(MARK, b"{"), kv(keys.slot(Kind.MIXER, M1, 0), b"{"))
    assert found.mark is Mark.DISABLED
    assert found.candidate().used == 1


@pytest.mark.parametrize("rest", ["slots/x", "slots/-1", "slots/1/2", "slots/", "else", "slots/٣"])
def test_foreign_keys_under_a_module_make_no_module(rest: str) -> None:
    assert Fleet([kv(keys.module_prefix(Kind.MIXER, M1) + rest, SLOT)]).of(Kind.MIXER) == []


def test_kinds_and_ids_that_begin_alike_are_kept_apart() -> None:
    fleet = Fleet(
        [
            kv(BEAT, heartbeat(1)),
            kv(keys.heartbeat(Kind.MIXER, ModuleId("m10")), heartbeat(2)),
            kv(keys.heartbeat(Kind.JANUS, ModuleId("m1")), heartbeat(3)),
            kv("/rooms/m1/meta", b"{}"),
        ]
    )
    assert [m.module_id for m in fleet.of(Kind.MIXER)] == ["m1", "m10"]
    assert [m.module_id for m in fleet.of(Kind.JANUS)] == ["m1"]
    assert fleet.get(Kind.MIXER, M2) is None
    assert fleet.get(Kind.JANUS, J1) is None

"""When a deed happened: what others do because they saw it is later, however late its answer."""

import random
from itertools import count

import pytest

from pkg.etcd.api import AmbiguousError
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.records import Event, RoomCreated
from roommanager.deeds import Deeds
from roommanager.view import View
from tests.support.virtual import BLUE

pytestmark = pytest.mark.anyio


class Timed:
    def __init__(self) -> None:
        self.times: list[str | None] = []

    def tell(self, event: Event, at: str | None = None) -> None:
        self.times.append(at)


def deeds(timed: Timed) -> Deeds:
    """Its clock says 0, 1, 2, … each time it is asked."""
    rng, etcd, hours = random.Random(0), MemoryEtcd(MemoryStore()), count()
    return Deeds(etcd, View(etcd, rng), timed, lambda: "call", lambda: str(next(hours)), rng)


async def test_it_has_the_time_when_it_was_sent() -> None:
    timed = Timed()
    one = deeds(timed)
    with one.telling(RoomCreated(room_id=BLUE)), one.telling(RoomCreated(room_id=BLUE)):
        pass
    assert timed.times == ["1", "0"]


async def test_so_it_has_when_its_answer_was_lost() -> None:
    timed = Timed()
    one = deeds(timed)
    try:
        with one.telling(RoomCreated(room_id=BLUE), "mine"):
            raise AmbiguousError("the answer was lost")
    except AmbiguousError:
        one.landed("mine")
    assert timed.times == ["0"]

"""When a deed happened: what others do because they saw it is later, however late its answer."""

import random
from itertools import count

import pytest

from pkg.etcd.api import AmbiguousError
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.records import RoomCreated
from roommanager.deeds import Deeds
from roommanager.view import View
from tests.support.heard import Heard
from tests.support.virtual import BLUE

pytestmark = pytest.mark.anyio


def deeds(heard: Heard) -> Deeds:
    """Its clock says 0, 1, 2, … each time it is asked."""
    rng, etcd, hours = random.Random(0), MemoryEtcd(MemoryStore()), count()
    return Deeds(etcd, View(etcd, rng), heard, lambda: "call", lambda: str(next(hours)), rng)


async def test_it_has_the_time_when_it_was_sent() -> None:
    heard = Heard()
    one = deeds(heard)
    with one.telling(RoomCreated(room_id=BLUE)), one.telling(RoomCreated(room_id=BLUE)):
        pass
    assert heard.times == ["1", "0"]


async def test_so_it_has_when_its_answer_was_lost() -> None:
    heard = Heard()
    one = deeds(heard)
    try:
        with one.telling(RoomCreated(room_id=BLUE), "mine"):
            raise AmbiguousError("the answer was lost")
    except AmbiguousError:
        one.landed("mine")
    assert heard.times == ["0"]

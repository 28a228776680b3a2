"""What comes at the wrong moment: handshakes that end half-way, answers out of order."""

from collections.abc import Sequence

import anyio
import pytest

from pkg.etcd.api import Compare, Delete, Op, Put, TxnResult
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import RoomId
from tests.support.gateway_parts import Losses, Part, claim, holder, running
from tests.support.virtual import until
from wsgateway.lock import Claim
from wsgateway.rooms import LISTED_AT_ONCE

pytestmark = pytest.mark.anyio


class Halting(MemoryEtcd):
    """Puts of a host's key arrive ``before`` seconds late, their answers ``after`` seconds late:
    one of each list for each, 0 once it is used up. So do deletes' answers: ``deleted``."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.before: list[float] = []
        self.after: list[float] = []
        self.deleted = 0.0

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        is_host = any(isinstance(op, Put) and op.key.startswith("/onair/hosts/") for op in then)
        await anyio.sleep(self.before.pop(0) if is_host and self.before else 0)
        result = await super().txn(compares, then, otherwise)
        await anyio.sleep(self.after.pop(0) if is_host and self.after else 0)
        if any(isinstance(op, Delete) for op in then):
            await anyio.sleep(self.deleted)
        return result


def losses(of: Claim) -> int:
    assert isinstance(of.lost, Losses)
    return of.lost.count


async def test_a_socket_that_goes_while_its_key_is_taken_leaves_no_key() -> None:
    """Whenever it goes: what undoes the write must not overtake it."""
    for moment in (0.5, 0.99, 1.0, 1.01, 1.5):
        store = MemoryStore()
        etcd = Halting(store)
        etcd.before, etcd.after, etcd.deleted = [1.0], [0.02], 1.0
        async with running(store, etcd=etcd) as part, anyio.create_task_group() as tasks:
            mine = claim()
            tasks.start_soon(give_up, part, mine, moment)
            await part.presence.take(mine, takeover=False)
            await anyio.sleep(5)
            assert (holder(store), part.presence.hosts()) == (None, []), moment


async def give_up(part: Part, mine: Claim, moment: float) -> None:
    await anyio.sleep(moment)
    part.presence.free(mine)


async def test_of_two_takeovers_the_later_one_stays_whoever_hears_first() -> None:
    store = MemoryStore()
    etcd = Halting(store)
    etcd.after = [1.0]
    async with running(store, etcd=etcd) as part, anyio.create_task_group() as tasks:
        first, second = claim("c1"), claim("c2")

        async def shake_hands() -> None:
            await part.presence.take(first, takeover=True)

        tasks.start_soon(shake_hands)
        await until(lambda: holder(store) == "c1")
        await part.presence.take(second, takeover=True)
        await anyio.sleep(5)
        assert (holder(store), losses(first), losses(second)) == ("c2", 1, 0)


async def test_a_room_left_and_entered_while_it_waits_to_be_listed_holds_up_no_other() -> None:
    rooms = [RoomId(f"r{n}") for n in range(5 * LISTED_AT_ONCE)]
    async with running(MemoryStore()) as part:
        for room in rooms:
            part.rooms.follow(room)
        for room in rooms[LISTED_AT_ONCE:]:
            part.rooms.unfollow(room)
            part.rooms.follow(room)
        await anyio.sleep(5)
        late = claim(room=RoomId("late"))
        part.rooms.follow(late.host.room_id)
        with anyio.fail_after(10):
            await part.rooms.settled(late)

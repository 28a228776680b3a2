"""One live connection per user and room; what stands in etcd, over losses of the lease."""

import os
import random
import socket
from collections.abc import Sequence
from functools import partial

import anyio
import pytest

from pkg import keys
from pkg.errors import TransientError
from pkg.etcd.api import (
    AmbiguousError,
    Compare,
    Delete,
    Op,
    Put,
    TxnResult,
    UnavailableError,
)
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.heartbeat import TTL_SECONDS, DuplicateModuleError
from pkg.model import Gateway, Host, HostStatus
from tests.support.gateway_parts import Losses, claim, gateway, holder, running
from tests.support.virtual import until
from wsgateway.lock import Claim
from wsgateway.presence import NOTE_SECONDS, Presence

pytestmark = pytest.mark.anyio


def losses(of: Claim) -> int:
    assert isinstance(of.lost, Losses)
    return of.lost.count


def host(store: MemoryStore) -> Host:
    kv = store.get(keys.host(claim().host.room_id, "ann"))
    assert kv is not None
    return Host.decode(kv.value)


async def test_a_second_connection_is_refused_until_the_first_is_over() -> None:
    store = MemoryStore()
    async with running(store, "g1") as one, running(store, "g2") as two:
        first = claim("c1")
        assert await one.presence.take(first, takeover=False)
        assert not await two.presence.take(claim("c2", gateway_id="g2"), takeover=False)
        assert not await one.presence.take(claim("c3"), takeover=False)
        assert holder(store) == "c1"
        await one.presence.freed(first)
        assert holder(store) is None
        assert await two.presence.take(claim("c4", gateway_id="g2"), takeover=False)


async def test_of_many_at_once_one_gets_in() -> None:
    store, won = MemoryStore(), list[str]()
    async with running(store, "g1") as one, running(store, "g2") as two:

        async def try_it(n: int) -> None:
            part = (one, two)[n % 2]
            if await part.presence.take(claim(f"c{n}", gateway_id=f"g{n % 2 + 1}"), takeover=False):
                won.append(f"c{n}")

        async with anyio.create_task_group() as tasks:
            for n in range(40):
                tasks.start_soon(try_it, n)
        assert won == [holder(store)]


async def test_a_takeover_is_told_at_once_within_a_gateway() -> None:
    store = MemoryStore()
    async with running(store) as part:
        first, second = claim("c1"), claim("c2")
        await part.presence.take(first, takeover=False)
        assert await part.presence.take(second, takeover=True)
        assert (losses(first), losses(second)) == (1, 0)
        await part.presence.freed(first)
        assert holder(store) == "c2", "the former holder frees nothing that is another's"


async def test_what_changes_of_a_host_is_written_once() -> None:
    store = MemoryStore()
    async with running(store) as part:
        mine = claim()
        await part.presence.take(mine, takeover=False)
        before = store.revision
        part.presence.note(mine, HostStatus.JOINED, "Ann", muted=True)
        part.presence.note(mine, HostStatus.LIVE, "Ann", muted=False)
        await until(lambda: host(store).status is HostStatus.LIVE)
        assert (host(store).display, host(store).muted) == ("Ann", False)
        await anyio.sleep(60)
        assert store.revision == before + 1


async def test_who_joins_and_is_live_a_moment_later_is_written_once_but_a_mute_at_once() -> None:
    store = MemoryStore()
    async with running(store) as part:
        mine = claim()
        await part.presence.take(mine, takeover=False)
        before = store.revision
        part.presence.note(mine, HostStatus.JOINED, "Ann", muted=False)
        await anyio.sleep(NOTE_SECONDS * 0.6)
        part.presence.note(mine, HostStatus.LIVE, "Ann", muted=False)
        await until(lambda: host(store).status is HostStatus.LIVE, within=NOTE_SECONDS)
        assert store.revision == before + 1
        part.presence.note(mine, HostStatus.LIVE, "Ann", muted=True)
        await until(lambda: host(store).muted, within=NOTE_SECONDS / 2)


async def test_a_takeover_whose_answer_was_lost_leaves_no_lock() -> None:
    store = MemoryStore()
    async with running(store) as part:
        part.etcd.lose_answers(1)
        with pytest.raises(AmbiguousError):
            await part.presence.take(claim("c1"), takeover=False)
        await until(lambda: holder(store) is None)
        assert await part.presence.take(claim("c2"), takeover=False)


class Thoughtful(MemoryEtcd):
    """Does what it is asked at once, and answers long after."""

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        result = await super().txn(compares, then, otherwise)
        await anyio.sleep(1)
        return result


async def test_a_handshake_that_was_given_up_leaves_no_lock() -> None:
    store = MemoryStore()
    async with running(store, etcd=Thoughtful(store)) as part:
        with anyio.move_on_after(0.5):
            await part.presence.take(claim("c1"), takeover=False)
        assert holder(store) == "c1"
        await until(lambda: holder(store) is None)


class Tardy(MemoryEtcd):
    """Deletes and looks at once, and does what is to be written long after it was asked."""

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if any(isinstance(op, Put) and op.key.startswith(keys.HOSTS) for op in then):
            await anyio.sleep(1)
        return await super().txn(compares, then, otherwise)


async def test_who_hangs_up_while_etcd_is_asked_leaves_no_lock() -> None:
    store = MemoryStore()
    async with running(store, etcd=Tardy(store)) as part:
        mine = claim("c1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(part.presence.take, mine, takeover=False))
            await anyio.sleep(0.5)
            part.presence.free(mine)
        assert holder(store) == "c1", "it was written after all"
        await until(lambda: holder(store) is None)
        assert part.presence.hosts() == []


async def test_keys_are_put_again_after_the_lease_was_lost() -> None:
    store = MemoryStore()
    async with running(store) as part:
        mine = claim()
        await part.presence.take(mine, takeover=False)
        store.expire_leases()
        assert holder(store) is None
        await until(lambda: holder(store) == "c1", within=TTL_SECONDS)
        assert losses(mine) == 0
        await until(lambda: store.get(keys.gateway("g1")) is not None)


async def test_a_gateway_that_was_away_gives_way_to_who_came_meanwhile() -> None:
    store = MemoryStore()
    async with running(store, "g1") as one, running(store, "g2") as two:
        ann, bob = claim("c1"), claim("c2", "bob")
        for mine in (ann, bob):
            await one.presence.take(mine, takeover=False)
        one.etcd.outage(down=True)
        await anyio.sleep(2 * TTL_SECONDS)
        assert (holder(store), losses(ann)) == (None, 0), "it concludes nothing while etcd is away"
        assert await two.presence.take(claim("c3", gateway_id="g2"), takeover=False)
        one.etcd.outage(down=False)
        await until(lambda: holder(store, "bob") == "c2", within=TTL_SECONDS)
        await until(lambda: losses(ann) == 1)
        assert (holder(store), losses(bob)) == ("c3", 0)


async def test_nobody_is_let_in_without_a_lease() -> None:
    store = MemoryStore()
    async with running(store) as part:
        part.etcd.outage(down=True)
        with pytest.raises(TransientError):
            await part.presence.take(claim("c1"), takeover=False)
        await anyio.sleep(2 * TTL_SECONDS)
        with pytest.raises(UnavailableError):
            await part.presence.take(claim("c2"), takeover=False)


async def test_a_key_freed_while_etcd_is_away_goes_when_it_is_back() -> None:
    store = MemoryStore()
    async with running(store) as part:
        mine = claim()
        await part.presence.take(mine, takeover=False)
        part.etcd.outage(down=True)
        part.presence.free(mine)
        await anyio.sleep(3)
        assert holder(store) == "c1"
        part.etcd.outage(down=False)
        await until(lambda: holder(store) is None)


async def test_a_deleted_key_is_put_again() -> None:
    store = MemoryStore()
    async with running(store) as part:
        mine = claim()
        await part.presence.take(mine, takeover=False)
        await part.etcd.txn([], [Delete(mine.key)])
        part.presence.doubt(mine)
        await until(lambda: holder(store) == "c1")


async def test_what_an_earlier_process_left_holds_nobody_up() -> None:
    """Killed and started again within its lease: its hosts come back at once."""
    store = MemoryStore()
    left = claim("before")
    etcd = MemoryEtcd(store)
    await etcd.txn([], [Put(left.key, left.host.encode(), await etcd.grant(10))])
    async with running(store) as part:
        assert await part.presence.take(claim("after"), takeover=False)


async def test_a_key_without_a_lease_holds_nobody_up() -> None:
    store = MemoryStore()
    squatter = claim("c0", gateway_id="g9")
    await MemoryEtcd(store).txn([], [Put(squatter.key, squatter.host.encode())])
    async with running(store) as part:
        assert await part.presence.take(claim(), takeover=False)


async def test_a_gateway_that_ends_leaves_nothing() -> None:
    store = MemoryStore()
    async with running(store) as part:
        for n in range(3):
            await part.presence.take(claim(f"c{n}", f"user{n}"), takeover=False)
        await part.presence.resign()
        assert list(store.under("/onair/")) == []
        await anyio.sleep(60)
        assert list(store.under("/onair/")) == []


# -- its registration ---------------------------------------------------------------------


async def register(store: MemoryStore, me: Gateway) -> None:
    presence = Presence(MemoryEtcd(store), "g1", me, random.Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(presence.run)
        await presence.registered.wait()
        tasks.cancel_scope.cancel()


async def test_a_second_gateway_of_an_id_refuses_to_start() -> None:
    store = MemoryStore()
    async with running(store, "g1"):
        other = gateway("g1").model_copy(update={"instance_id": "another", "pid": 77})
        with pytest.RaisesGroup(DuplicateModuleError, flatten_subgroups=True):
            await register(store, other)


async def test_the_id_of_a_process_that_is_gone_is_free_at_once() -> None:
    store, here = MemoryStore(), socket.gethostname()
    await register(store, gateway("g1", pid=2**22 + 1, host=here))
    began = anyio.current_time()
    mine = gateway("g1", pid=os.getpid(), host=here)
    await register(store, mine.model_copy(update={"instance_id": "new"}))
    assert anyio.current_time() - began < 1

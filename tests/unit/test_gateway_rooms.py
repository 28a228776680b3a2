"""What etcd says of a room, as its hosts' connections are told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryStore
from pkg.model import Desired, Order, Revocation
from pkg.secrets import host_pin, room_secret
from pkg.tokens import Grant
from tests.support.gateway_parts import (
    BEGIN,
    BLUE,
    MASTER,
    Losses,
    Part,
    claim,
    grant,
    holder,
    janus,
    live,
    meta,
    on_air,
    running,
)
from tests.support.virtual import put, until
from wsgateway.exchange import Air, End, Ended, Event, Ordered, Place, RoomSeen
from wsgateway.lock import Claim

pytestmark = pytest.mark.anyio


@dataclass
class Listener:
    """A connection that only listens."""

    claim: Claim = field(default_factory=claim)
    grant: Grant = field(default_factory=grant)
    told: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        self.told.append(event)

    @property
    def seen(self) -> RoomSeen:
        return [event for event in self.told if isinstance(event, RoomSeen)][-1]

    def ends(self) -> list[End]:
        return [event.why for event in self.told if isinstance(event, Ended)]


@asynccontextmanager
async def attached(part: Part, listener: Listener) -> AsyncGenerator[Listener]:
    await part.presence.take(listener.claim, takeover=False)
    part.rooms.follow(BLUE)
    await part.rooms.settled(listener.claim)
    part.rooms.attach(listener)
    yield listener
    part.rooms.detach(listener)
    part.rooms.unfollow(BLUE)


@asynccontextmanager
async def scene() -> AsyncGenerator[tuple[Part, Listener]]:
    """One host in the room blue, which is on air."""
    async with running(MemoryStore()) as part:
        await on_air(part.etcd)
        async with attached(part, Listener()) as listener:
            yield part, listener


PLACE = Place(
    "ws://janus:8188",
    123456,
    live().janus_epoch,
    host_pin(MASTER, BLUE, 7),
    room_secret(MASTER, BLUE, 7),
)


async def test_the_first_thing_told_is_where_the_room_is() -> None:
    async with scene() as (_, ann):
        assert ann.told == [RoomSeen(Air.ON, PLACE)]
        assert PLACE.pin not in repr(PLACE)
        assert PLACE.secret not in repr(PLACE)


async def test_a_room_that_nobody_made_is_gone() -> None:
    async with running(MemoryStore()) as part, attached(part, Listener()) as ann:
        assert ann.told == [RoomSeen(Air.GONE)]


async def test_each_change_of_the_room_is_told_once() -> None:
    async with scene() as (part, ann):
        state, wish = keys.room(BLUE, "janus"), keys.room(BLUE, "livemeta")
        await put(part.etcd, wish, live(epoch=9))
        await until(lambda: ann.seen.air is Air.COMING)
        await put(part.etcd, state, janus(epoch=9, number=654321))
        await until(lambda: ann.seen.air is Air.ON)
        assert ann.seen.place is not None
        assert (ann.seen.place.number, ann.seen.place.epoch) == (654321, 9)
        assert ann.seen.place.pin == host_pin(MASTER, BLUE, 9)
        await put(part.etcd, state, janus(epoch=9, number=654321))  # nothing new
        await put(part.etcd, wish, live(Desired.STOPPING, 9))
        await until(lambda: ann.seen.air is Air.OFF)
        await put(part.etcd, wish, live(Desired.REMOVING, 9))
        await until(lambda: ann.seen.air is Air.GONE)
        assert len(ann.told) == 5


async def test_what_cannot_be_read_changes_nothing() -> None:
    async with scene() as (part, ann):
        await part.etcd.txn([], [Put(keys.room(BLUE, "janus"), b"{")])
        await anyio.sleep(1)
        assert ann.told == [RoomSeen(Air.ON, PLACE)]


async def test_an_outage_is_no_news() -> None:
    async with scene() as (part, ann):
        part.etcd.outage(down=True)
        await anyio.sleep(60)
        part.etcd.outage(down=False)
        await anyio.sleep(60)
        assert ann.told == [RoomSeen(Air.ON, PLACE)]


async def test_what_changed_during_an_outage_is_told_after_it() -> None:
    async with scene() as (part, ann):
        part.etcd.outage(down=True)
        part.etcd.store.txn([], [Delete(keys.room(BLUE, "meta"))], [])
        await anyio.sleep(60)
        part.etcd.outage(down=False)
        await until(lambda: ann.seen.air is Air.GONE)


# -- revocations, orders, others ----------------------------------------------------------


@pytest.mark.parametrize(("kicked", "end"), [(False, End.REVOKED), (True, End.KICKED)])
async def test_a_user_is_revoked(kicked: bool, end: End) -> None:
    async with scene() as (part, ann):
        key = keys.revoked_user(BLUE, "ann")
        await put(part.etcd, key, Revocation(before=BEGIN - 1, kicked=kicked))
        await anyio.sleep(1)
        assert ann.ends() == [], "the token is younger"
        await put(part.etcd, key, Revocation(before=BEGIN, kicked=kicked))
        await until(lambda: ann.ends() == [end])
        assert part.rooms.is_void(ann.grant)
        assert not part.rooms.is_void(grant("bob"))


async def test_a_token_is_revoked() -> None:
    async with scene() as (part, ann):
        await put(part.etcd, keys.revoked_token("another"), Revocation(before=BEGIN))
        await put(part.etcd, keys.revoked_token(ann.grant.token_id), Revocation(before=BEGIN))
        await until(lambda: ann.ends() == [End.REVOKED])


async def test_a_revocation_that_cannot_be_read_revokes() -> None:
    async with scene() as (part, ann):
        await part.etcd.txn([], [Put(keys.revoked_user(BLUE, "ann"), b"{")])
        await until(lambda: ann.ends() == [End.REVOKED])


async def test_a_revocation_between_handshake_and_arrival_is_not_missed() -> None:
    async with running(MemoryStore()) as part:
        await put(part.etcd, keys.revoked_user(BLUE, "ann"), Revocation(before=BEGIN))
        await until(lambda: part.rooms.is_void(grant()))
        async with attached(part, Listener()) as ann:
            assert ann.ends() == [End.REVOKED]


async def test_an_order_reaches_the_connection_it_names() -> None:
    async with scene() as (part, ann):
        key = keys.order(BLUE, "ann")
        await put(part.etcd, key, Order(connection="older", muted=True, by="eve"))
        await put(part.etcd, key, Order(connection="c1", muted=True, by="eve"))
        await until(lambda: Ordered(muted=True, by="eve") in ann.told)
        assert sum(isinstance(event, Ordered) for event in ann.told) == 1


async def test_another_gateway_takes_over() -> None:
    store = MemoryStore()
    async with (
        running(store, "g1") as one,
        running(store, "g2") as two,
        attached(one, Listener()) as ann,
    ):
        assert await two.presence.take(claim("c2", gateway_id="g2"), takeover=True)
        assert isinstance(ann.claim.lost, Losses)
        lost = ann.claim.lost
        await until(lambda: lost.count > 0)
        assert holder(store) == "c2"


async def test_a_key_that_vanished_is_put_again() -> None:
    async with scene() as (part, ann):
        await part.etcd.txn([], [Delete(ann.claim.key)])
        await until(lambda: holder(part.etcd.store) == "c1")
        assert isinstance(ann.claim.lost, Losses)
        assert ann.claim.lost.count == 0


@pytest.mark.parametrize(
    ("most", "set_here", "full"), [(2, 50, True), (None, 2, True), (3, 2, False)]
)
async def test_a_full_room(most: int | None, set_here: int, full: bool) -> None:
    """Who came first stays, on whichever gateway."""
    store = MemoryStore()
    async with (
        running(store, "g1", max_hosts=set_here) as one,
        running(store, "g2", max_hosts=set_here) as two,
    ):
        await put(one.etcd, keys.room(BLUE, "meta"), meta(most))
        first, second, third = claim("c1", "zoe"), claim("c2", "bob", "g2"), claim("c3", "ann")
        await one.presence.take(first, takeover=False)
        await two.presence.take(second, takeover=False)
        await one.presence.take(third, takeover=False)
        found = []
        for part, mine in ((one, first), (two, second), (one, third)):
            part.rooms.follow(BLUE)
            await part.rooms.settled(mine)
            found.append(part.rooms.is_full(mine))
        assert found == [False, False, full]


async def test_a_room_without_hosts_of_ours_is_not_watched() -> None:
    async with scene() as (part, _):
        assert part.rooms.informer.is_listed(keys.room_prefix(BLUE))
    async with running(MemoryStore()) as part:
        async with attached(part, Listener()):
            pass
        assert not part.rooms.informer.is_listed(keys.room_prefix(BLUE))

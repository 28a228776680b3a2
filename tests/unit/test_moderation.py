"""Who is in a room, and moderation of them, through REST in process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Revocation, RoomId
from pkg.tokens import AIR, MODERATE
from tests.support.inprocess import InProcess, now, running
from tests.support.obedience import BLUE, Gateway, host, put

pytestmark = pytest.mark.anyio
PEOPLE = "/api/rooms/blue/participants"


@asynccontextmanager
async def show() -> AsyncGenerator[tuple[InProcess, Gateway]]:
    """Room ``blue`` with ann and bob in it, and their gateway."""
    async with running() as stage, anyio.create_task_group() as tasks:
        gateway = Gateway(stage.etcd)
        tasks.start_soon(gateway.run)
        for room in ("blue", "blue-2"):
            await stage.client.post("/api/rooms", json={"roomId": room})
        await put(stage.etcd, host("bob", "2026-01-01T00:00:02.000Z", display="Bob"))
        await put(stage.etcd, host("ann", "2026-01-01T00:00:01.000Z"))
        await put(stage.etcd, host("eve", room_id="blue-2"))
        yield stage, gateway
        tasks.cancel_scope.cancel()


async def test_participants_stand_in_the_order_they_came() -> None:
    async with show() as (stage, _):
        found = (await stage.client.get(PEOPLE)).raise_for_status().json()["participants"]
        assert [p["userId"] for p in found] == ["ann", "bob"]
        assert found[1] == {
            "userId": "bob",
            "display": "Bob",
            "status": "live",
            "muted": False,
            "connectedAt": "2026-01-01T00:00:02.000Z",
            "gatewayId": "g1",
        }
        assert "display" not in found[0]


async def test_one_that_cannot_be_read_hides_nobody_else() -> None:
    async with show() as (stage, _):
        await stage.etcd.txn([], [Put(keys.host(BLUE, "odd"), b"{")])
        found = (await stage.client.get(PEOPLE)).json()["participants"]
        assert [p["userId"] for p in found] == ["ann", "bob"]


async def test_a_room_without_anybody_and_one_that_is_not_there() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        assert (await stage.client.get(PEOPLE)).json() == {"participants": []}
        absent = await stage.client.get("/api/rooms/nobody/participants")
        assert (absent.status_code, absent.json()["code"]) == (404, "room-not-found")


async def test_mute_and_unmute_answer_when_it_is_so() -> None:
    async with show() as (stage, gateway):
        for _ in range(2):
            muted = await stage.client.post(f"{PEOPLE}/ann/mute")
            assert (muted.status_code, muted.json()["muted"]) == (200, True)
        back = await stage.client.post(f"{PEOPLE}/ann/unmute")
        assert (back.status_code, back.json()["muted"]) == (200, False)
        assert [(o.muted, o.by, o.connection) for o in gateway.orders] == [
            (True, "operator", "c-ann"),
            (True, "operator", "c-ann"),
            (False, "operator", "c-ann"),
        ]


async def test_who_muted_himself_is_only_asked() -> None:
    async with show() as (stage, gateway):
        gateway.own_mute.add("ann")
        await put(stage.etcd, host("ann", muted=True))
        began = anyio.current_time()
        asked = await stage.client.post(f"{PEOPLE}/ann/unmute")
        assert (asked.status_code, asked.json()["muted"]) == (200, True)
        assert 2 <= anyio.current_time() - began < 2.5
        assert len(gateway.orders) == 1


async def test_an_order_is_gone_after_a_minute_and_with_its_room() -> None:
    async with show() as (stage, _):
        key = keys.order(BLUE, "ann")
        await stage.client.post(f"{PEOPLE}/ann/mute")
        assert await stage.etcd.get(key) is not None
        await anyio.sleep(61)
        assert await stage.etcd.get(key) is None
        await stage.client.post(f"{PEOPLE}/ann/mute")
        await stage.client.delete("/api/rooms/blue")
        assert await stage.etcd.get(key) is None


async def test_a_connection_that_is_taken_over_meanwhile_gets_the_order() -> None:
    """The order was decided on for the connection before: it is decided again."""
    async with show() as (stage, gateway):

        async def take_over() -> None:
            await anyio.sleep(0.0035)  # he is looked up at 3 ms, the order is written at 4 ms
            await put(MemoryEtcd(stage.etcd.store, latency=0), host("ann", connection="c-2"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_over)
            assert (await stage.client.post(f"{PEOPLE}/ann/mute")).json()["muted"] is True
        assert [order.connection for order in gateway.orders] == ["c-2"]


async def test_nobody_there_is_told_where_to_look() -> None:
    async with show() as (stage, _):
        for verb in ("mute", "unmute"):
            for user in ("nobody", "eve"):
                answer = await stage.client.post(f"{PEOPLE}/{user}/{verb}")
                assert (answer.status_code, answer.json()["code"]) == (404, "participant-not-found")
                assert "/api/rooms/blue/participants" in answer.json()["detail"]


async def test_a_kick_closes_and_voids_what_he_had_and_may_be_repeated() -> None:
    async with show() as (stage, _):
        key = keys.revoked_user(BLUE, "ann")
        for _ in range(2):
            answer = await stage.client.post(f"{PEOPLE}/ann/kick")
            assert (answer.status_code, answer.json()) == (200, {"userId": "ann"})
            there = (await stage.client.get(PEOPLE)).json()["participants"]
            assert [p["userId"] for p in there] == ["bob"]
        kv = await stage.etcd.get(key)
        assert kv is not None
        found = Revocation.decode(kv.value)
        assert (found.kicked, found.by) == (True, "operator")
        assert found.before >= now() - 5
        await anyio.sleep(24 * 3600 + 60)
        assert await stage.etcd.get(key) is not None, "as long as any token could live"
        await anyio.sleep(3600)
        assert await stage.etcd.get(key) is None


async def test_a_moderator_moderates_others_but_does_not_kick_himself() -> None:
    async with show() as (stage, gateway):
        body = {"userId": "ann", "role": "host", "grants": [MODERATE]}
        token = (await stage.client.post("/api/rooms/blue/tokens", json=body)).json()["token"]
        keyed = {"Authorization": f"Bearer {token}"}
        own = await stage.public.post(f"{PEOPLE}/ann/kick", headers=keyed)
        assert (own.status_code, own.json()["code"]) == (403, "not-granted")
        muted = await stage.public.post(f"{PEOPLE}/bob/mute", headers=keyed)
        assert (muted.status_code, gateway.orders[-1].by) == (200, "ann")
        assert (await stage.public.post(f"{PEOPLE}/bob/kick", headers=keyed)).status_code == 200
        kv = await stage.etcd.get(keys.revoked_user(BLUE, "bob"))
        assert kv is not None
        assert Revocation.decode(kv.value).by == "ann"


async def test_most_hosts_of_a_room_are_kept_with_it() -> None:
    async with running() as stage:
        body = {"roomId": "blue", "maxParticipants": 7}
        made = (await stage.client.post("/api/rooms", json=body)).json()
        assert made["maxParticipants"] == 7
        facts = await stage.context.wishes.read(RoomId("blue"))
        assert facts.meta is not None
        assert facts.meta.max_participants == 7
        for wrong in (0, 1001, "7", 1.5):
            answer = await stage.client.post("/api/rooms", json={"maxParticipants": wrong})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == "maxParticipants"


async def test_grants_are_a_hosts_own_matter() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        for asked, granted in ((None, {AIR}), ([], set()), ([MODERATE, AIR], {AIR, MODERATE})):
            body = {"userId": "ann", "role": "host", **({} if asked is None else {"grants": asked})}
            made = (await stage.client.post("/api/rooms/blue/tokens", json=body)).json()
            grant = stage.context.tokens.verify(made["token"], BLUE)
            assert grant.grants == granted
            assert grant.token_id == made["tokenId"]
        for body in (
            {"userId": "ann", "role": "listener", "grants": ["air"]},
            {"userId": "ann", "role": "host", "grants": ["fly"]},
        ):
            answer = await stage.client.post("/api/rooms/blue/tokens", json=body)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"].startswith("grants")

"""Tokens taken back, by id and by user; what is given out afterwards counts."""

from typing import Any

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import Revocation, RoomId
from roommanager import revoking
from tests.support.inprocess import InProcess, now, running
from tests.support.virtual import stored

pytestmark = pytest.mark.anyio
BLUE = RoomId("blue")
REVOCATIONS = "/api/rooms/blue/revocations"


async def give(stage: InProcess, user: str = "ann", role: str = "host") -> dict[str, Any]:
    body = {"userId": user, "role": role}
    answer = await stage.client.post("/api/rooms/blue/tokens", json=body)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def counts(stage: InProcess, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    answer = await stage.public.get("/api/rooms/blue", headers=headers)
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def test_one_token_is_void_and_others_of_its_user_are_not() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        one, two = await give(stage), await give(stage)
        body = {"tokenId": one["tokenId"]}
        first = await stage.client.post(REVOCATIONS, json=body)
        assert first.status_code == 201
        assert first.json() == {"tokenId": one["tokenId"], "before": first.json()["before"]}
        assert (await stage.client.post(REVOCATIONS, json=body)).json() == first.json()
        assert not await counts(stage, one["token"])
        assert await counts(stage, two["token"])


async def test_all_of_a_user_are_void_and_the_next_one_is_not() -> None:
    """All within one second, three times over: no token slips through, none is void at birth."""
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        other = await give(stage, "bob")
        for _ in range(3):
            old = await give(stage)
            assert await counts(stage, old["token"])
            answer = await stage.client.post(REVOCATIONS, json={"userId": "ann"})
            assert (answer.status_code, answer.json()["userId"]) == (201, "ann")
            assert not await counts(stage, old["token"])
        assert await counts(stage, (await give(stage))["token"])
        assert await counts(stage, other["token"])


async def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    async with running() as stage:
        later = Revocation(before=now() + 2)
        await revoking.revoke_user(stage.etcd, BLUE, "ann", later)
        again = await revoking.revoke_user(stage.etcd, BLUE, "ann", Revocation(before=now()))
        assert again.before == later.before


async def test_a_kick_that_is_repeated_does_not_keep_out_for_longer() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        kick = "/api/rooms/blue/participants/ann/kick"
        for _ in range(20):
            assert (await stage.client.post(kick)).status_code == 200
        assert await counts(stage, (await give(stage))["token"])


async def test_revocations_outlive_the_room() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        one, two = await give(stage), await give(stage, "bob")
        await stage.client.post(REVOCATIONS, json={"tokenId": one["tokenId"]})
        await stage.client.post(REVOCATIONS, json={"userId": "bob"})
        await stage.client.delete("/api/rooms/blue")
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        assert not await counts(stage, one["token"])
        assert not await counts(stage, two["token"])
        await anyio.sleep(revoking.LEASE_SECONDS + 60)
        assert stored(stage.etcd.store, keys.REVOKED) == []


async def test_one_of_the_two_is_asked_for() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        for body, field in (
            ({}, "userId"),
            ({"tokenId": "a", "userId": "b"}, "userId"),
            ({"tokenId": "a/b"}, "tokenId"),
            ({"tokenId": ".."}, "tokenId"),
            ({"userId": "a/b"}, "userId"),
        ):
            answer = await stage.client.post(REVOCATIONS, json=body)
            assert answer.status_code == 422
            assert [e["field"] for e in answer.json()["errors"]] == [field]
        absent = await stage.client.post("/api/rooms/nobody/revocations", json={"userId": "a"})
        assert absent.json()["code"] == "room-not-found"
        assert stored(stage.etcd.store, keys.REVOKED) == []


async def test_what_cannot_be_read_is_written_over_and_until_then_refuses() -> None:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "blue"})
        old = await give(stage)
        await stage.etcd.txn([], [Put(keys.revoked_user(BLUE, "ann"), b"{")])
        assert not await counts(stage, old["token"])
        assert (await stage.client.post(REVOCATIONS, json={"userId": "ann"})).status_code == 201
        assert await counts(stage, (await give(stage))["token"])


async def test_a_listeners_token_is_void_at_the_playlist_too() -> None:
    async with running() as stage:
        stored = stage.context.wishes
        await stored.create(BLUE, "scrypt$" + "0" * 32 + "$" + "0" * 64, {})
        given = await give(stage, "lis", "listener")
        link = f"/hls/blue/live.m3u8?token={given['token']}"
        assert (await stage.public.get(link)).status_code == 404  # nothing is on air
        done = await stage.client.post(REVOCATIONS, json={"tokenId": given["tokenId"]})
        assert done.status_code == 201
        await stage.context.view.informer.reached("/onair/", stage.etcd.store.revision)
        assert (await stage.public.get(link)).status_code == 401

"""Pages of rooms: in id order whatever etcd's is, each room once, poison passed over."""

import random

import pytest

from pkg.etcd.api import Put
from pkg.model import RoomId, RoomMeta
from roommanager import listing
from tests.support.inprocess import InProcess, running

pytestmark = pytest.mark.anyio
IDS = ["a", "a-", "a-b", "a-b-c", "a0", "aA", "a_", "b", "b-1", "b-10", "b-2", "Z", "9", "9-9"]


async def store(stage: InProcess, key: str, value: bytes) -> None:
    await stage.etcd.txn([], [Put(key, value)])


async def make(stage: InProcess, *ids: str) -> None:
    for room_id in ids:
        meta = RoomMeta(room_id=RoomId(room_id), created_at="2026-01-01T00:00:00Z")
        await store(stage, f"/rooms/{room_id}/meta", meta.encode())


async def walk(stage: InProcess, limit: int) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        answer = (await stage.client.get("/api/rooms", params=query)).raise_for_status().json()
        assert len(answer["rooms"]) <= limit
        found += [room["roomId"] for room in answer["rooms"]]
        cursor = answer.get("nextCursor")
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
async def test_rooms_come_in_the_order_of_their_ids(limit: int) -> None:
    async with running() as stage:
        await make(stage, *IDS)
        assert await walk(stage, limit) == sorted(IDS)


@pytest.mark.parametrize("chunk", [1, 2, 3])
async def test_order_holds_where_etcds_answer_is_cut(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK_ROOMS", chunk)
    monkeypatch.setattr(listing, "KEYS_PER_ROOM", 1)
    rng = random.Random(chunk)
    ids = {"".join(rng.choices("ab-0", k=rng.randint(1, 4))).strip("-") or "x" for _ in range(60)}
    async with running() as stage:
        await make(stage, *ids)
        assert await walk(stage, 7) == sorted(ids)


async def test_a_room_removed_or_made_meanwhile_moves_no_other() -> None:
    async with running() as stage:
        await make(stage, "a", "b", "c", "d")
        first = (await stage.client.get("/api/rooms?limit=2")).json()
        await stage.client.delete("/api/rooms/b")
        await make(stage, "a-new")
        url = f"/api/rooms?limit=2&cursor={first['nextCursor']}"
        second = (await stage.client.get(url)).json()
        assert [room["roomId"] for room in second["rooms"]] == ["c", "d"]


async def test_stray_keys_by_the_thousand_hide_nothing_else() -> None:
    async with running() as stage:
        await make(stage, "a", "m", "z")
        for n in range(listing.CHUNK_ROOMS * listing.KEYS_PER_ROOM + 5):
            await store(stage, f"/rooms/m/stray{n:05}", b"x")
        assert await walk(stage, 200) == ["a", "m", "z"]


@pytest.mark.parametrize("room_id", ["-a", "a b", "ä", "", "..", "a" * 65, "\udcff"])
async def test_ids_that_rest_refuses_are_not_listed(room_id: str) -> None:
    async with running() as stage:
        await make(stage, "a", "z")
        good = b'{"roomId":"x","createdAt":"2026-01-01T00:00:00Z"}'
        await store(stage, f"/rooms/{room_id}/meta", good)
        assert await walk(stage, 1) == ["a", "z"]

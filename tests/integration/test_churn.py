"""Rooms created, started, stopped and deleted in random order by 8 clients; then five lists agree.

etcd keys, answers given, FFmpeg processes, Janus rooms and forwarders, ports (I5, I7, I8).
``ONAIR_TEST_CHURN_SECONDS`` sets how long (default 15), ``ONAIR_TEST_SEED`` repeats a run.
"""

import os
import random
from collections import Counter
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg]

SECONDS = float(os.environ.get("ONAIR_TEST_CHURN_SECONDS", "15"))  # noqa: TID251
SEED = int(os.environ.get("ONAIR_TEST_SEED", "1"))  # noqa: TID251
CLIENTS, ROOMS, CAPACITY = 8, 60, 25
SETTLED_SECONDS = 90.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Churn:
    """``wanted`` is the ledger: what the last acknowledged call about a room made of it.

    Each room belongs to one client, so that the order of its calls is known.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.answers: Counter[str] = Counter()
        self.wanted: dict[str, str] = {}

    async def client(self, number: int, until_time: float) -> None:
        rng = random.Random(SEED * 1000 + number)
        mine = [f"room{n}" for n in range(number, ROOMS, CLIENTS)]
        while anyio.current_time() < until_time:
            await self.act(
                rng.choice(mine), rng.choice(["create", "start", "start", "stop", "delete"])
            )
            await anyio.sleep(rng.uniform(0, 0.3))

    async def act(self, room: str, verb: str) -> None:
        status = (await getattr(self, verb)(room)).status_code
        self.answers[f"{verb} {status}"] += 1
        assert status in EXPECTED[verb], f"{verb} {room}: {status}"
        if status < 300:
            self.wanted[room] = {"create": "idle", "start": "onair", "stop": "idle"}.get(
                verb, "gone"
            )

    async def create(self, room: str) -> httpx.Response:
        return await self.stack.http.post("/api/rooms", json={"roomId": room})

    async def start(self, room: str) -> httpx.Response:
        return await self.stack.http.post(f"/api/rooms/{room}/start", timeout=60)

    async def stop(self, room: str) -> httpx.Response:
        return await self.stack.http.post(f"/api/rooms/{room}/stop")

    async def delete(self, room: str) -> httpx.Response:
        return await self.stack.http.delete(f"/api/rooms/{room}")

    async def settled(self) -> bool:
        return all([await self.stack.status(r) == s for r, s in self.wanted.items()])


VERBS = ("create", "start", "start", "stop", "delete")
OUTCOME = {"create": "idle", "start": "onair", "stop": "idle", "delete": "gone"}
EXPECTED = {
    "create": {201, 409},
    "start": {200, 404, 409, 503},
    "stop": {200, 404, 409},
    "delete": {202, 404},
}


@pytest.mark.timeout(SECONDS + 2 * SETTLED_SECONDS + 60)
async def test_five_lists_agree_after_churn(
    tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> None:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace, capacity=CAPACITY) as stack:
        churn = Churn(stack)
        end = anyio.current_time() + SECONDS
        async with anyio.create_task_group() as tasks:
            for number in range(CLIENTS):
                tasks.start_soon(churn.client, number, end)
        await until(churn.settled, within=SETTLED_SECONDS)

        on_air = sorted(room for room, status in churn.wanted.items() if status == "onair")
        assert churn.answers["start 200"] > CLIENTS, "nothing was churned"
        assert sorted(stack.ffmpegs()) == on_air
        assert all(len(pids) == 1 for pids in stack.ffmpegs().values())
        assert sorted(text.split("/")[2] for text in await stack.janus_rooms()) == on_air
        assert len(stack.bound_ports()) == 2 * len(on_air)
        found = await stack.keys()
        for part in ("livemeta", "janus", "mixer"):
            assert sorted(k.split("/")[2] for k in found if k.endswith(f"/{part}")) == on_air
        assert sum("/slots/" in key for key in found) == 2 * len(on_air)

        for room in churn.wanted:
            await churn.delete(room)
        await stack.nothing_remains(within=SETTLED_SECONDS)
        print(f"\nchurn: {SECONDS:g} s, seed {SEED}, {dict(sorted(churn.answers.items()))}")

"""The informer's copy equals etcd after whatever comes between; a naive watcher's does not.

``ONAIR_TEST_WATCH_EVENTS`` says how many changes are written (100000 for the long run).
"""

import random

import anyio
import pytest

from pkg.errors import OnairError
from pkg.etcd.api import KV, Batch, Etcd
from pkg.informer import Informer
from tests.watch.storm import EVENTS, STEADY, weather

pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.timeout(600)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Told:
    """The production informer, and a mirror made only of what its listeners are told."""

    def __init__(self, etcd: Etcd) -> None:
        self._informer = Informer(etcd, STEADY, random.Random(1))
        self._informer.on_change(self._look)
        self._mirror: dict[str, KV] = {}

    def _look(self, key: str) -> None:
        kv = self._informer.get(key)
        if kv is None:
            self._mirror.pop(key, None)
        else:
            self._mirror[key] = kv

    async def run(self) -> None:
        await self._informer.run()

    def follow(self, prefix: str) -> None:
        self._informer.follow(prefix)

    def unfollow(self, prefix: str) -> None:
        self._informer.unfollow(prefix)
        for key in [key for key in self._mirror if key.startswith(prefix)]:
            del self._mirror[key]

    async def reached(self, prefix: str, revision: int) -> None:
        await self._informer.reached(prefix, revision)

    def copy(self, prefix: str) -> dict[str, KV]:
        copy = {key: self._informer.get(key) for key in self._informer.keys(prefix)}
        mirror = {key: kv for key, kv in self._mirror.items() if key.startswith(prefix)}
        assert copy == mirror, "the listeners were not told of every key"
        return mirror


class Naive:
    """Lists once, then watches from now on; after a break it watches again, and lists never."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._items: dict[str, dict[str, KV]] = {}
        self._revisions: dict[str, int] = {}
        self._wanted = set(STEADY)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                for prefix in self._wanted - self._items.keys():
                    self._items[prefix] = {}
                    tasks.start_soon(self._keep, prefix)
                await anyio.sleep(0.01)

    def follow(self, prefix: str) -> None:
        self._wanted.add(prefix)

    def unfollow(self, prefix: str) -> None:
        """Its watch goes on, unheard."""
        self._wanted.discard(prefix)

    async def reached(self, prefix: str, revision: int) -> None:
        while self._revisions.get(prefix, 0) < revision:
            await anyio.sleep(0.02)

    def copy(self, prefix: str) -> dict[str, KV]:
        return self._items.get(prefix, {}) if prefix in self._wanted else {}

    async def _keep(self, prefix: str) -> None:
        listed = False
        while True:
            try:
                if not listed:
                    snapshot = await self._etcd.range(prefix)
                    self._items[prefix], listed = {kv.key: kv for kv in snapshot.kvs}, True
                async with self._etcd.watch(prefix, since=None) as batches:
                    async for batch in batches:
                        self._apply(prefix, batch)
            except OnairError:
                await anyio.sleep(0.05)

    def _apply(self, prefix: str, batch: Batch) -> None:
        self._revisions[prefix] = batch.revision
        for key, kv in batch.changes:
            if kv is None:
                self._items[prefix].pop(key, None)
            else:
                self._items[prefix][key] = kv


async def test_the_copy_equals_etcd_and_listeners_hear_of_every_key() -> None:
    storm = await weather(Told, EVENTS, seed=1)
    assert storm.fault == ""
    assert storm.events >= EVENTS
    assert {*storm.struck} == {"cut", "away", "compact", "compact_while_away", "kill", "pause"}
    assert min(storm.struck.values()) >= 2, storm.struck
    print(f"{storm.events} events through {dict(storm.struck)}")


async def test_a_naive_watcher_fails_the_same_test() -> None:
    storm = await weather(Naive, EVENTS, seed=1)
    assert "the copy differs from etcd" in storm.fault

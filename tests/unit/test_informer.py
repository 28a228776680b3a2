"""The copy equals etcd, whatever happened in between, and listeners hear of every key."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pkg.etcd.api import Batch, Delete, Put, UnavailableError
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.etcd.seen import Seen
from pkg.informer import RESYNC_SECONDS, Informer, UndecodableError
from pkg.model import Slot

pytestmark = pytest.mark.anyio


class Scene:
    """An informer, and a second client that writes."""

    def __init__(self, *prefixes: str) -> None:
        self.store = MemoryStore()
        self.etcd, self.writer = MemoryEtcd(self.store), MemoryEtcd(self.store)
        self.informer = Informer(self.etcd, prefixes or ("/a/",), random.Random(1))
        self.heard: list[str] = []
        self.informer.on_change(self.heard.append)

    async def put(self, key: str, value: bytes = b"1") -> int:
        return (await self.writer.txn([], [Put(key, value)])).revision

    async def delete(self, key: str) -> int:
        return (await self.writer.txn([], [Delete(key)])).revision

    async def caught_up(self, prefix: str = "/a/") -> None:
        with anyio.fail_after(30):
            await self.informer.reached(prefix, self.store.revision)

    def copy(self, prefix: str = "/a/") -> dict[str, bytes]:
        found = {key: self.informer.get(key) for key in self.informer.keys(prefix)}
        return {key: kv.value for key, kv in found.items() if kv}

    def truth(self, prefix: str = "/a/") -> dict[str, bytes]:
        return {kv.key: kv.value for kv in self.store.under(prefix)}


@asynccontextmanager
async def running(scene: Scene) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.informer.run)
        with anyio.fail_after(30):
            await scene.informer.synced.wait()
        yield
        tasks.cancel_scope.cancel()


async def test_it_lists_then_follows() -> None:
    scene = Scene()
    await scene.put("/a/1")
    async with running(scene):
        assert scene.copy() == {"/a/1": b"1"}
        assert scene.heard == ["/a/1", "/a/"], "the range's own name: now it is listed"
        scene.heard.clear()
        await scene.put("/a/1", b"2")
        await scene.put("/a/2", b"3")
        await scene.delete("/a/1")
        await scene.caught_up()
        assert scene.copy() == {"/a/2": b"3"}
        assert scene.heard == ["/a/1", "/a/2", "/a/1"]
        assert scene.informer.mod_revision("/a/1") == 0


async def test_one_prefix_never_covers_another_that_begins_alike() -> None:
    scene = Scene("/r/a/", "/r/ab/")
    await scene.put("/r/a/x")
    async with running(scene):
        await scene.put("/r/ab/x", b"ab")
        await scene.put("/r/abc/x", b"abc")
        await scene.caught_up("/r/ab/")
        assert list(scene.informer.keys("/r/a/")) == ["/r/a/x"]
        assert list(scene.informer.keys("/r/ab/")) == ["/r/ab/x"]
        assert scene.informer.get("/r/abc/x") is None


async def test_bookmarks_advance_a_quiet_range() -> None:
    scene = Scene()
    async with running(scene):
        revision = await scene.put("/elsewhere/x")
        with anyio.fail_after(5):
            await scene.informer.reached("/a/any", revision)
        assert scene.informer.revision("/a/") >= revision
        assert scene.heard == ["/a/"]


async def test_what_was_deleted_in_an_outage_is_told() -> None:
    scene = Scene()
    for n in range(3):
        await scene.put(f"/a/{n}")
    async with running(scene):
        scene.heard.clear()
        scene.etcd.outage(down=True)
        await anyio.sleep(1)
        assert scene.informer.broken_since is not None
        assert len(scene.copy()) == 3, "while etcd is away, nothing is believed absent"
        await scene.delete("/a/0")
        await scene.put("/a/1", b"new")
        await anyio.sleep(420)
        scene.etcd.outage(down=False)
        await scene.caught_up()
        assert scene.copy() == scene.truth() == {"/a/1": b"new", "/a/2": b"1"}
        assert scene.heard == ["/a/0", "/a/1", "/a/"], "the range's own name: it is back"
        assert scene.informer.broken_since is None


async def test_compaction_while_disconnected_is_a_normal_event() -> None:
    scene = Scene()
    await scene.put("/a/0")
    async with running(scene):
        scene.etcd.outage(down=True)
        await anyio.sleep(1)
        await scene.delete("/a/0")
        await scene.put("/a/1")
        scene.store.compact()
        scene.etcd.outage(down=False)
        await scene.caught_up()
        assert scene.copy() == {"/a/1": b"1"}
        assert "/a/0" in scene.heard


async def test_a_watch_that_breaks_at_once_each_time_does_not_list_in_a_storm() -> None:
    class Watchless(MemoryEtcd):
        lists = 0

        async def range(self, prefix, *, limit=0, start=None):  # type: ignore[no-untyped-def]
            self.lists += 1
            return await super().range(prefix, limit=limit, start=start)

        @asynccontextmanager
        async def watch(self, prefix, *, since):  # type: ignore[no-untyped-def]
            async def broken() -> AsyncIterator[Batch]:
                if self.lists:
                    raise UnavailableError("no leader")
                yield Batch(0)

            yield broken()

    scene = Scene()
    etcd = Watchless(scene.store)
    scene.informer = Informer(etcd, ("/a/",), random.Random(1))
    async with running(scene):
        await anyio.sleep(60)
        assert 10 < etcd.lists < 200


async def test_an_outage_is_over_only_when_every_range_is_listed_again() -> None:
    class Torn(MemoryEtcd):
        torn = ""

        async def range(self, prefix, *, limit=0, start=None):  # type: ignore[no-untyped-def]
            if prefix == self.torn:
                raise UnavailableError("torn")
            return await super().range(prefix, limit=limit, start=start)

    scene = Scene()
    etcd = Torn(scene.store)
    scene.informer = Informer(etcd, ("/a/", "/b/"), random.Random(1))
    async with running(scene):
        await anyio.sleep(1)
        etcd.torn = "/b/"
        etcd.cut_watches()
        await anyio.sleep(10)
        assert scene.informer.broken_since is not None, "/b/ is not known to be as it was"
        etcd.torn = ""
        await anyio.sleep(10)
        assert scene.informer.broken_since is None


async def test_an_etcd_that_went_back_is_not_believed() -> None:
    scene = Scene()
    for n in range(5):
        await scene.put(f"/a/{n}")
    async with running(scene):
        before = scene.copy()
        scene.etcd.store = MemoryStore()  # restored from nothing
        scene.etcd.cut_watches()
        await anyio.sleep(600)
        assert scene.copy() == before
        assert scene.informer.broken_since is not None
        scene.etcd.store = scene.store
        await scene.put("/a/5")
        await scene.caught_up()
        assert scene.copy() == scene.truth()


async def test_an_etcd_that_went_back_is_believed_once_it_is_accepted(tmp_path: Path) -> None:
    scene, file = Scene(), tmp_path / "seen"
    scene.etcd = MemoryEtcd(scene.store, seen=Seen(file))
    scene.informer = Informer(scene.etcd, ("/a/",), random.Random(1))
    for n in range(5):
        await scene.put(f"/a/{n}")
    async with running(scene):
        scene.etcd.store = scene.store = MemoryStore()  # restored from an older state
        scene.writer = MemoryEtcd(scene.store)
        await scene.put("/a/3", b"older")
        scene.etcd.cut_watches()
        await anyio.sleep(60)
        assert len(scene.copy()) == 5
        file.unlink()
        with anyio.fail_after(30):
            while scene.copy() != {"/a/3": b"older"}:
                await anyio.sleep(0.1)
        await scene.put("/a/4", b"goes on")
        await scene.caught_up()
        assert scene.copy() == scene.truth()


async def test_an_outage_is_told_once_however_many_ranges_it_strikes() -> None:
    scene = Scene(*(f"/a/{n}/" for n in range(50)))
    async with running(scene):
        with capture_logs() as logs:
            for down in (True, False, True, False):
                scene.etcd.outage(down=down)
                await anyio.sleep(60)
    told = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert told == ["informer.lost", "informer.recovered"] * 2


async def test_what_a_watch_lost_is_found_by_the_next_full_list() -> None:
    scene = Scene()
    async with running(scene):
        await scene.put("/a/0")
        await scene.caught_up()
        scene.informer._ranges["/a/"].items.clear()
        await anyio.sleep(1.3 * RESYNC_SECONDS)
        assert scene.copy() == scene.truth()


async def test_ranges_come_and_go_while_it_runs() -> None:
    scene = Scene()
    await scene.put("/b/1")
    async with running(scene):
        assert not scene.informer.is_listed("/b/")
        scene.informer.follow("/b/")
        await anyio.sleep(1)
        assert scene.informer.is_listed("/b/")
        assert scene.heard[-2:] == ["/b/1", "/b/"]
        scene.informer.unfollow("/b/")
        assert scene.informer.get("/b/1") is None
        heard = len(scene.heard)
        await scene.put("/b/1", b"2")
        await anyio.sleep(1)
        assert len(scene.heard) == heard
        scene.informer.follow("/b/")
        await anyio.sleep(1)
        assert scene.copy("/b/") == {"/b/1": b"2"}
        scene.informer.unfollow("/b/")
        scene.informer.follow("/b/")
        await anyio.sleep(1)
        await scene.put("/b/2", b"3")
        await anyio.sleep(1)
        assert scene.copy("/b/") == {"/b/1": b"2", "/b/2": b"3"}


async def test_nobody_waits_for_a_range_that_is_dropped() -> None:
    scene = Scene("/a/", "/b/")
    async with running(scene), anyio.create_task_group() as tasks:
        tasks.start_soon(scene.informer.reached, "/b/x", 10_000)
        await anyio.sleep(1)
        scene.informer.unfollow("/b/")
        with anyio.fail_after(5):
            await scene.informer.reached("/b/x", 10_000)
        tasks.start_soon(anyio.sleep, 0)


async def test_an_undecodable_value_fails_only_who_asks_for_it() -> None:
    scene = Scene()
    await scene.put("/a/bad", b'{"roomId": 1, "pin": "geheim"}')
    await scene.put("/a/good", Slot.model_validate({"roomId": "blue", "epoch": 7}).encode())
    async with running(scene):
        good = scene.informer.record("/a/good", Slot)
        assert good is not None
        assert good.epoch == 7
        assert scene.informer.record("/a/good", Slot) is good
        assert scene.informer.record("/a/none", Slot) is None
        with pytest.raises(UndecodableError, match="/a/bad is not a Slot") as caught:
            scene.informer.record("/a/bad", Slot)
        assert "geheim" not in str(caught.value)
        await scene.put("/a/bad", good.encode())
        await scene.caught_up()
        assert scene.informer.record("/a/bad", Slot) == good


KEYS = [f"/a/{n}" for n in range(4)] + ["/ab/0", "/b/0"]
steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS)),
    st.tuples(st.just("delete"), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["cut", "compact", "down", "up", "rest"]), st.just("")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25), st.integers(0, 9))
def test_at_quiet_points_the_copy_equals_etcd(plan: list[tuple[str, str]], seed: int) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_at_quiet_points, plan, seed, clock=clock)


async def _at_quiet_points(plan: list[tuple[str, str]], seed: int) -> None:
    scene, rng = Scene(), random.Random(seed)
    told: dict[str, bytes | None] = {}

    def look(key: str) -> None:
        kv = scene.informer.get(key)
        told[key] = kv.value if kv else None

    scene.informer.on_change(look)
    async with running(scene):
        for n, (word, key) in enumerate([*plan, ("up", "")]):
            await _step(scene, word, key, str(n).encode())
            await anyio.sleep(rng.choice([0.0, 0.002, 0.5]))
        await scene.caught_up()
        assert scene.copy() == scene.truth()
        heard = {key: value for key, value in told.items() if value is not None and key != "/a/"}
        assert heard == scene.truth(), "who only looks at the keys it is told of knows it all"


async def _step(scene: Scene, word: str, key: str, value: bytes) -> None:
    match word:
        case "put":
            await scene.put(key, value)
        case "delete":
            await scene.delete(key)
        case "cut":
            scene.etcd.cut_watches()
        case "compact":
            scene.store.compact()
        case "down" | "up":
            scene.etcd.outage(down=word == "down")
        case _:
            await anyio.sleep(3)

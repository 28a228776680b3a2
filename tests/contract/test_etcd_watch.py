"""Watches: what api.py promises, on memory and on real etcd."""

import subprocess
from collections.abc import AsyncIterator

import anyio
import pytest

from pkg.etcd.api import (
    Batch,
    CompactedError,
    Delete,
    DeletePrefix,
    Etcd,
    Put,
    UnavailableError,
    commit,
)
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.memory import MemoryEtcd
from tests.contract.conftest import Connect
from tests.support.etcd import EtcdServer, loop_for

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30.0


@pytest.fixture
def anyio_backend(world: str) -> object:
    return loop_for(world)


async def changes(batches: AsyncIterator[Batch], n: int) -> list[Batch]:
    """The next ``n`` batches that are not bookmarks."""
    found: list[Batch] = []
    with anyio.fail_after(PATIENCE_SECONDS):
        async for batch in batches:
            found += [batch] if batch.changes else []
            if len(found) == n:
                return found
    raise AssertionError("the watch ended")


async def test_changes_come_in_order_whole_and_with_their_values(etcd: Etcd) -> None:
    start = (await etcd.range("/")).revision
    async with etcd.watch("/w/", since=start + 1) as batches:
        first = await commit(etcd, [], [Put("/w/b", b"1"), Put("/other", b""), Put("/w/a", b"2")])
        second = await commit(etcd, [], [Delete("/w/b"), Put("/w/é", b"3")])
        third = await commit(etcd, [], [DeletePrefix("/w/")])
        found = await changes(batches, 3)
    assert [batch.revision for batch in found] == [first, second, third]
    values = [[(key, kv and kv.value) for key, kv in batch.changes] for batch in found]
    assert values == [
        [("/w/b", b"1"), ("/w/a", b"2")],
        [("/w/b", None), ("/w/é", b"3")],
        [("/w/a", None), ("/w/é", None)],
    ]
    kv = found[1].changes[1][1]
    assert kv is not None
    assert (kv.create_revision, kv.mod_revision, kv.version) == (second, second, 1)


async def test_a_watch_from_now_misses_nothing_after_it_is_entered(etcd: Etcd) -> None:
    await commit(etcd, [], [Put("/w/old", b"")])
    async with etcd.watch("/w/", since=None) as batches:
        revisions = [await commit(etcd, [], [Put("/w/new", b"%d" % n)]) for n in range(20)]
        found = await changes(batches, 20)
    assert [batch.revision for batch in found] == revisions


async def test_a_resumed_watch_repeats_and_misses_nothing(etcd: Etcd) -> None:
    revisions = [await commit(etcd, [], [Put("/w/k", b"%d" % n)]) for n in range(30)]
    async with etcd.watch("/w/", since=revisions[0]) as batches:
        seen = await changes(batches, 11)
    async with etcd.watch("/w/", since=seen[-1].revision + 1) as batches:
        revisions.append(await commit(etcd, [], [Delete("/w/k")]))
        seen += await changes(batches, 20)
    assert [batch.revision for batch in seen] == revisions


async def test_a_transaction_of_128_keys_is_one_batch(etcd: Etcd) -> None:
    puts = [Put(f"/w/{n:03}", b"x" * 10_000) for n in range(127, -1, -1)]
    revision = await commit(etcd, [], puts[:100])
    async with etcd.watch("/w/", since=revision) as batches:
        await commit(etcd, [], puts)
        past, live = await changes(batches, 2)
    assert [key for key, _ in past.changes] == [put.key for put in puts[:100]]
    assert [key for key, _ in live.changes] == [put.key for put in puts]


async def test_a_bookmark_follows_what_others_wrote(etcd: Etcd) -> None:
    start = (await etcd.range("/")).revision
    async with etcd.watch("/quiet/", since=start + 1) as batches:
        revision = await commit(etcd, [], [Put("/loud", b"")])
        with anyio.fail_after(PATIENCE_SECONDS):
            async for batch in batches:
                assert batch.changes == ()
                if batch.revision >= revision:
                    break


async def test_many_watches_of_one_client(etcd: Etcd) -> None:
    start = (await etcd.range("/")).revision
    seen: dict[int, list[str]] = {}

    async def follow(n: int) -> None:
        async with etcd.watch(f"/w/{n}/", since=start + 1) as batches:
            (batch,) = await changes(batches, 1)
            seen[n] = [key for key, _ in batch.changes]

    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(follow, n)
        await commit(etcd, [], [Put(f"/w/{n}/k", b"") for n in range(40)])
    assert seen == {n: [f"/w/{n}/k"] for n in range(40)}


async def test_a_namespace_is_stripped_and_the_neighbour_unseen(connect: Connect) -> None:
    a, ab = connect("/a"), connect("/ab")
    start = (await a.range("/")).revision
    async with a.watch("/", since=start + 1) as batches:
        await commit(ab, [], [Put("/theirs", b"")])
        await commit(a, [], [Put("/mine", b"")])
        (batch,) = await changes(batches, 1)
    assert [(key, kv and kv.key) for key, kv in batch.changes] == [("/mine", "/mine")]


async def test_closing_the_client_ends_its_watches(etcd: Etcd) -> None:
    async def close() -> None:
        await etcd.aclose()

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(UnavailableError):
            async with etcd.watch("/", since=1) as batches:
                tasks.start_soon(close)
                async for _ in batches:
                    pass
    with pytest.raises(UnavailableError):
        await etcd.get("/k")


async def test_a_compacted_revision_is_said_so(world: str) -> None:
    """On a server of its own: compaction strikes every watch of a cluster."""
    if world.startswith("memory"):
        etcd = MemoryEtcd()
        await compaction(etcd, None)
        return
    flavour = world.removeprefix("etcd-")
    with EtcdServer(flavour if flavour != "container" else "3.4") as server:
        client = EtcdClient(EtcdOptions(endpoints=[server.url]))
        try:
            await compaction(client, server.url)
        finally:
            await client.aclose()


async def compaction(etcd: Etcd, url: str | None) -> None:
    revisions = [await commit(etcd, [], [Put("/k", b"%d" % n)]) for n in range(3)]
    if isinstance(etcd, MemoryEtcd):
        etcd.store.compact()
    else:
        ctl = ["etcdctl", "--endpoints", str(url), "compact", str(revisions[-1])]
        await anyio.run_process(ctl, env={"ETCDCTL_API": "3"}, stdout=subprocess.DEVNULL)
    with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(CompactedError) as caught:
        async with etcd.watch("/", since=revisions[0]) as batches:
            await changes(batches, 1)
    assert caught.value.compact_revision == revisions[-1]
    async with etcd.watch("/", since=revisions[-1]) as batches:
        (batch,) = await changes(batches, 1)
    assert batch.revision == revisions[-1]

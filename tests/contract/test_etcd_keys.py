"""Keys, transactions and compares: what api.py promises, on memory and on real etcd."""

import anyio
import pytest

from pkg.etcd.api import (
    KV,
    BadRequestError,
    Compare,
    ConflictError,
    CreatedIs,
    Delete,
    DeletePrefix,
    Etcd,
    Get,
    LeaseIs,
    ModIs,
    NoneUnder,
    Op,
    Put,
    commit,
)
from tests.contract.conftest import Connect
from tests.support.etcd import loop_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(world: str) -> object:
    return loop_for(world)


async def keys(etcd: Etcd, prefix: str = "/") -> list[str]:
    return [kv.key for kv in (await etcd.range(prefix)).kvs]


async def holds(etcd: Etcd, compare: Compare) -> bool:
    return (await etcd.txn([compare], [])).succeeded


async def test_a_put_is_read_back_with_its_revisions(etcd: Etcd) -> None:
    first = await commit(etcd, [], [Put("/k", b"one")])
    second = await commit(etcd, [], [Put("/k", b"two")])
    assert second > first
    assert await etcd.get("/k") == KV("/k", b"two", first, second, 2)
    assert await etcd.get("/absent") is None


async def test_a_deleted_key_starts_anew(etcd: Etcd) -> None:
    await commit(etcd, [], [Put("/k", b"one")])
    await commit(etcd, [], [Delete("/k")])
    assert await etcd.get("/k") is None
    revision = await commit(etcd, [], [Put("/k", b"")])
    assert await etcd.get("/k") == KV("/k", b"", revision, revision, 1)


async def test_all_changes_of_a_transaction_share_one_revision(etcd: Etcd) -> None:
    revision = await commit(etcd, [], [Put(f"/k{n}", b"v") for n in range(128)])
    found = (await etcd.range("/k")).kvs
    assert len(found) == 128
    assert {kv.mod_revision for kv in found} == {revision}


@pytest.mark.parametrize("op", [Delete("/no"), DeletePrefix("/no"), Get("/no")])
async def test_what_changes_nothing_is_no_change_for_compares(etcd: Etcd, op: Op) -> None:
    revision = await commit(etcd, [], [Put("/k", b"v")])
    result = await etcd.txn([], [op])
    assert result.succeeded
    assert await holds(etcd, ModIs("/k", revision))


async def test_mod_and_created_compares(etcd: Etcd) -> None:
    created = await commit(etcd, [ModIs("/k", 0), CreatedIs("/k", 0)], [Put("/k", b"1")])
    changed = await commit(etcd, [ModIs("/k", created)], [Put("/k", b"2")])
    assert await holds(etcd, CreatedIs("/k", created))
    assert not await holds(etcd, CreatedIs("/k", changed))
    assert await holds(etcd, ModIs("/k", changed))
    assert not await holds(etcd, ModIs("/k", created))
    assert not await holds(etcd, ModIs("/k", 0))
    assert not await holds(etcd, CreatedIs("/k", 0))


async def test_none_under_sees_the_prefix_and_only_it(etcd: Etcd) -> None:
    await commit(etcd, [NoneUnder("/a/")], [Put("/ab", b""), Put("/b/x", b"")])
    assert await holds(etcd, NoneUnder("/a/"))
    await commit(etcd, [NoneUnder("/a/")], [Put("/a/é/x", b"")])
    assert not await holds(etcd, NoneUnder("/a/"))
    assert not await holds(etcd, NoneUnder("/a/é"))
    await commit(etcd, [], [Delete("/a/é/x")])
    assert await holds(etcd, NoneUnder("/a/"))


async def test_lease_compare_needs_the_key_to_exist(etcd: Etcd) -> None:
    lease = await etcd.grant(60)
    assert not await holds(etcd, LeaseIs("/k", 0))
    assert not await holds(etcd, LeaseIs("/k", lease))
    await commit(etcd, [], [Put("/k", b"", lease), Put("/free", b"")])
    assert await holds(etcd, LeaseIs("/k", lease))
    assert not await holds(etcd, LeaseIs("/k", 0))
    assert await holds(etcd, LeaseIs("/free", 0))
    await etcd.revoke(lease)


async def test_every_compare_must_hold_and_the_other_branch_answers(etcd: Etcd) -> None:
    await commit(etcd, [], [Put("/k", b"mine")])
    result = await etcd.txn(
        [ModIs("/none", 0), ModIs("/k", 0)],
        [Put("/k", b"theirs")],
        [Get("/k"), Get("/none"), Put("/seen", b""), Get("/seen")],
    )
    assert not result.succeeded
    values = [kv.value if kv else None for kv in result.gets]
    assert values == [b"mine", None, b""]
    assert await keys(etcd) == ["/k", "/seen"]


async def test_commit_names_the_compare_that_failed(etcd: Etcd) -> None:
    with pytest.raises(ConflictError, match="/k mod=77"):
        await commit(etcd, [ModIs("/k", 77)], [Put("/k", b"")])
    assert await etcd.get("/k") is None


async def test_a_branch_runs_in_order_and_sees_its_own_writes(etcd: Etcd) -> None:
    await commit(etcd, [], [Put("/a/1", b""), Put("/a/2", b""), Put("/b", b"")])
    result = await etcd.txn(
        [], [Get("/a/1"), DeletePrefix("/a/"), Get("/a/1"), Put("/n", b"n"), Get("/n")]
    )
    before, after, new = result.gets
    assert before is not None
    assert after is None
    assert new == KV("/n", b"n", result.revision, result.revision)
    assert await keys(etcd) == ["/b", "/n"]


async def test_range_pages_through_everything_in_order(etcd: Etcd) -> None:
    names = [f"/p/{n:03}" for n in range(25)] + ["/p/é", "/p/中"]
    await commit(etcd, [], [Put(name, b"") for name in reversed(names)] + [Put("/q", b"")])
    seen: list[str] = []
    start = None
    while True:
        page = await etcd.range("/p/", limit=10, start=start)
        seen += [kv.key for kv in page.kvs]
        if not page.more:
            break
        start = page.kvs[-1].key + "\0"
    assert seen == names
    assert [kv.key for kv in (await etcd.range("/p/", limit=27)).kvs] == names
    assert not (await etcd.range("/p/", limit=27)).more


async def test_a_start_before_the_prefix_does_not_widen_it(etcd: Etcd) -> None:
    await commit(etcd, [], [Put("/a", b""), Put("/b/1", b"")])
    page = await etcd.range("/b/", start="/a")
    assert [kv.key for kv in page.kvs] == ["/b/1"]


async def test_the_snapshot_revision_is_not_older_than_any_write_before(etcd: Etcd) -> None:
    revision = await commit(etcd, [], [Put("/k", b"")])
    assert (await etcd.range("/none")).revision >= revision
    assert (await etcd.status()).revision >= revision
    assert (await etcd.status()).has_leader


@pytest.mark.parametrize(
    "then",
    [
        [Put(f"/k{n}", b"") for n in range(129)],
        [Put("/k", b"1"), Put("/k", b"2")],
        [Put("/k", b""), Delete("/k")],
        [DeletePrefix("/"), Put("/k", b"")],
        [Put("/k", b"x" * 1_600_000)],
        [Put("/k", b"x" * 3_000_000)],
    ],
    ids=["129", "put-put", "put-delete", "prefix-put", "1.6MB", "3MB"],
)
async def test_a_bad_transaction_is_refused_in_either_branch(etcd: Etcd, then: list[Op]) -> None:
    with pytest.raises(BadRequestError):
        await etcd.txn([], then)
    with pytest.raises(BadRequestError):
        await etcd.txn([], [], then)
    assert await keys(etcd) == []


async def test_too_many_compares_are_refused(etcd: Etcd) -> None:
    assert (await etcd.txn([ModIs("/k", 0)] * 128, [])).succeeded
    with pytest.raises(BadRequestError):
        await etcd.txn([ModIs("/k", 0)] * 129, [])


async def test_big_values_and_a_list_over_grpcs_default_limit(etcd: Etcd) -> None:
    for n in range(5):
        await commit(etcd, [], [Put(f"/big/{n}", bytes([n]) * 1_000_000)])
    found = await etcd.range("/big/")
    assert [kv.value[:1] + kv.value[-1:] for kv in found.kvs] == [bytes([n, n]) for n in range(5)]


async def test_namespaces_never_meet(connect: Connect) -> None:
    a, ab, root = connect("/a"), connect("/ab"), connect()
    await commit(a, [NoneUnder("/")], [Put("/k", b"a")])
    await commit(ab, [NoneUnder("/")], [Put("/k", b"ab")])
    assert await keys(a) == await keys(ab) == ["/k"]
    assert await keys(root, "/a") == ["/a/k", "/ab/k"]
    await commit(a, [], [DeletePrefix("/")])
    assert await keys(a) == []
    assert await keys(ab) == ["/k"]


async def test_of_many_claimants_of_one_key_one_wins(connect: Connect) -> None:
    winners: list[int] = []

    async def claim(etcd: Etcd, n: int) -> None:
        if (await etcd.txn([ModIs("/slot", 0)], [Put("/slot", b"%d" % n)])).succeeded:
            winners.append(n)

    clients = [connect(), connect()]
    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(claim, clients[n % 2], n)
    holder = await clients[0].get("/slot")
    assert holder is not None
    assert winners == [int(holder.value)]

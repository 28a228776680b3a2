"""Memory and real etcd, given the same operations, give the same answers (Hypothesis).

Revisions are compared relative to each side's first, lease ids by the order of their grant;
errors by class. Every example ends with both sides' whole contents and watched history.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkg.errors import OnairError
from pkg.etcd.api import (
    KV,
    Compare,
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
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.memory import MemoryEtcd
from tests.support.etcd import FLAVOURS, EtcdServer

pytestmark = pytest.mark.etcd

KEYS = ("/a", "/a/", "/a/b", "/a/é", "/ab", "/b", "/b/中")
PREFIXES = ("/", "/a", "/a/", "/b", "/none")
WATCHED = ("/", "/a", "/a/")
KEY, PREFIX = st.sampled_from(KEYS), st.sampled_from(PREFIXES)
# Revisions and leases are steps back from the newest; 0 stands for "none".
BACK = st.integers(0, 6)

compares = st.one_of(
    st.builds(ModIs, KEY, BACK),
    st.builds(CreatedIs, KEY, BACK),
    st.builds(NoneUnder, PREFIX),
    st.builds(LeaseIs, KEY, st.integers(0, 3)),
)
ops = st.one_of(
    st.builds(Put, KEY, st.binary(max_size=3), st.sampled_from((0, 0, 0, 1, 2, 3))),
    st.builds(Delete, KEY),
    st.builds(DeletePrefix, PREFIX),
    st.builds(Get, KEY),
)


@dataclass(frozen=True)
class Txn:
    compares: tuple[Compare, ...]
    then: tuple[Op, ...]
    otherwise: tuple[Op, ...]


@dataclass(frozen=True)
class Range:
    prefix: str
    limit: int
    start: str | None


@dataclass(frozen=True)
class Lease:
    verb: str
    number: int


Step: TypeAlias = Txn | Range | Lease
few = st.lists(compares, max_size=2).map(tuple)
branch = st.lists(ops, max_size=4).map(tuple)
steps = st.one_of(
    st.builds(Txn, few, branch, branch),
    st.builds(Txn, st.just(()), branch, st.just(())),
    st.builds(Range, PREFIX, st.integers(0, 3), st.one_of(st.none(), KEY)),
    st.builds(Lease, st.sampled_from(("grant", "keep_alive", "revoke")), st.integers(1, 3)),
)


@dataclass
class Side:
    """One implementation, with what makes its answers comparable to the other's."""

    etcd: Etcd
    base: int = 0
    newest: int = 0
    leases: list[int] = field(default_factory=list)

    async def run(self, step: Step) -> object:
        try:
            return await self._run(step)
        except OnairError as error:
            return type(error).__name__

    async def contents(self) -> object:
        return [self.kv(kv) for kv in (await self.etcd.range("/")).kvs]

    async def histories(self) -> dict[str, list[object]]:
        """All that is watched from the start, up to keys written now; by prefix."""
        ends = [Put(prefix + "~end", b"") for prefix in WATCHED]
        last = await commit(self.etcd, [], ends)
        found: dict[str, list[object]] = {}

        async def follow(prefix: str) -> None:
            found[prefix] = await self._history(prefix, last)

        async with anyio.create_task_group() as tasks:
            for prefix in WATCHED:  # at once: etcd looks after late watches every 100 ms
                tasks.start_soon(follow, prefix)
        return found

    async def _history(self, prefix: str, last: int) -> list[object]:
        found: list[object] = []
        async with self.etcd.watch(prefix, since=self.base + 1) as batches:
            async for batch in batches:
                pairs = [(key, self.kv(kv)) for key, kv in batch.changes]
                found += [(batch.revision - self.base, pairs)] if pairs else []
                if batch.revision >= last:
                    break
        return found

    def kv(self, kv: KV | None) -> KV | None:
        if kv is None:
            return None
        lease = self.leases.index(kv.lease) + 1 if kv.lease else 0
        created, changed = kv.create_revision - self.base, kv.mod_revision - self.base
        return replace(kv, create_revision=created, mod_revision=changed, lease=lease)

    async def _run(self, step: Step) -> object:
        match step:
            case Txn():
                return await self._txn(step)
            case Range(prefix, limit, start):
                page = await self.etcd.range(prefix, limit=limit, start=start)
                return page.revision - self.base, [self.kv(kv) for kv in page.kvs], page.more
            case Lease("grant", _):
                self.leases.append(await self.etcd.grant(600))
                return len(self.leases)
            case Lease("keep_alive", number):
                return await self.etcd.keep_alive(self._lease(number))
            case Lease(_, number):
                await self.etcd.revoke(self._lease(number))
                return None

    async def _txn(self, step: Txn) -> object:
        result = await self.etcd.txn(
            [self._own(compare) for compare in step.compares],
            [self._own(op) for op in step.then],
            [self._own(op) for op in step.otherwise],
        )
        self.newest = result.revision
        gets = [self.kv(kv) for kv in result.gets]
        return result.succeeded, result.revision - self.base, gets

    def _lease(self, number: int) -> int:
        """The n-th lease granted; one that was never granted does not exist on either side."""
        return self.leases[number - 1] if 0 < number <= len(self.leases) else number and 10**6

    def _own(self, item: Any) -> Any:
        match item:
            case ModIs() | CreatedIs() if item.revision:
                return replace(item, revision=max(self.newest + 1 - item.revision, self.base))
            case LeaseIs() | Put():
                return replace(item, lease=self._lease(item.lease))
            case _:
                return item


async def compare(real: Etcd, script: list[Step]) -> None:
    sides = [Side(MemoryEtcd(latency=0)), Side(real)]
    for side in sides:
        side.base = side.newest = (await side.etcd.range("/")).revision
    for step in script:
        memory, server = [await side.run(step) for side in sides]
        assert memory == server, step
    assert await sides[0].contents() == await sides[1].contents()
    assert await sides[0].histories() == await sides[1].histories()
    for lease in sides[1].leases:
        await real.revoke(lease)


@pytest.fixture(scope="module", params=[f for f in FLAVOURS if f != "container"] or ["3.4"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[list[Step]], None]]:
    """Compare on a server of its own: nobody else may move its revision."""

    async def once(url: str, script: list[Step]) -> None:
        options = EtcdOptions(endpoints=[url], namespace=f"/{secrets.token_hex(4)}")
        etcd = EtcdClient(options)
        try:
            with anyio.fail_after(60):
                await compare(etcd, script)
        finally:
            await etcd.aclose()

    with EtcdServer(request.param) as server, anyio.from_thread.start_blocking_portal() as portal:
        call: Callable[..., Awaitable[None]] = once
        yield lambda script: portal.call(call, server.url, script)


@settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=st.lists(steps, min_size=5, max_size=30))
def test_memory_answers_as_etcd_does(run: Callable[[list[Step]], None], script: list[Step]) -> None:
    run(script)

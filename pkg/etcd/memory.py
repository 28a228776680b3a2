"""etcd in a dict: the same contract, in virtual time, with cruelty on demand. For tests.

Held to the same contract suite as ``client`` (tests/contract), so it cannot drift into a
wishful impression of the real server. One ``MemoryStore`` is the cluster; each ``MemoryEtcd``
is one client of it, and outages, cut watches and lost answers strike one client at a time.
"""

from bisect import bisect_left, insort
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import anyio

from pkg.etcd.api import (
    KV,
    MAX_TXN_OPS,
    AmbiguousError,
    BadRequestError,
    Batch,
    CompactedError,
    Compare,
    ConflictError,
    CreatedIs,
    Delete,
    DeletePrefix,
    Get,
    LeaseIs,
    ModIs,
    NoneUnder,
    Op,
    Put,
    Snapshot,
    Status,
    TxnResult,
    UnavailableError,
)
from pkg.etcd.seen import Seen

MIN_TTL = 2  # etcd raises shorter ones: 1.5 election timeouts, rounded up
MAX_TTL = 9_000_000_000
MAX_REQUEST_BYTES = 1_572_864  # etcd's default --max-request-bytes

Change: TypeAlias = tuple[str, KV | None]
_Keyed = TypeVar("_Keyed", bound=Compare | Op)


@dataclass(frozen=True, slots=True)
class _Lease:
    ttl: int
    expires: float  # on anyio.current_time()


class MemoryStore:
    """The cluster: keys, revisions, history and leases. Its methods never block."""

    def __init__(self, cluster_id: int = 1) -> None:
        self.cluster_id = cluster_id
        self.revision = 1
        self.changed = anyio.Event()
        self._compacted = 0
        self._kvs: dict[str, KV] = {}
        self._keys: list[str] = []  # sorted, for ranges
        self._history: list[Batch] = []
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0

    # -- cruelty ---------------------------------------------------------------------------

    def compact(self) -> None:
        """Forget all history: a watch from before now raises CompactedError."""
        self._compacted = self.revision
        at = bisect_left(self._history, self.revision, key=lambda batch: batch.revision)
        del self._history[:at]
        self.wake()

    def expire_leases(self) -> None:
        """Every lease ends at once, as after a leader that was paused for long."""
        for lease in sorted(self._leases):
            self.end_lease(lease)

    # -- reading ---------------------------------------------------------------------------

    def get(self, key: str) -> KV | None:
        return self._kvs.get(key)

    def under(self, prefix: str, start: str | None = None) -> Iterator[KV]:
        for at in range(bisect_left(self._keys, max(prefix, start or "")), len(self._keys)):
            if not self._keys[at].startswith(prefix):
                return
            yield self._kvs[self._keys[at]]

    def since(self, revision: int) -> list[Batch]:
        """Raises CompactedError when ``revision`` is gone."""
        if revision < self._compacted:
            raise CompactedError(self._compacted)
        at = bisect_left(self._history, revision, key=lambda batch: batch.revision)
        return self._history[at:]

    def holds(self, compare: Compare) -> bool:
        match compare:
            case ModIs(key, revision):
                kv = self._kvs.get(key)
                return (kv.mod_revision if kv else 0) == revision
            case CreatedIs(key, revision):
                kv = self._kvs.get(key)
                return (kv.create_revision if kv else 0) == revision
            case NoneUnder(prefix):
                return next(self.under(prefix), None) is None
            case LeaseIs(key, lease):
                kv = self._kvs.get(key)
                return kv is not None and kv.lease == lease

    # -- writing ---------------------------------------------------------------------------

    def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]
    ) -> TxnResult:
        succeeded = all(map(self.holds, compares))
        ops = then if succeeded else otherwise
        self._check_leases(ops)
        changes: list[Change] = []
        gets: list[KV | None] = []
        for op in ops:
            self._apply(op, changes, gets)
        self._commit(changes)
        return TxnResult(succeeded, self.revision, tuple(gets))

    def grant(self, ttl: int) -> int:
        if ttl > MAX_TTL:
            raise BadRequestError("lease TTL too large")
        self._last_lease += 1
        self._leases[self._last_lease] = _Lease(max(ttl, MIN_TTL), 0.0)
        self.keep_alive(self._last_lease)
        return self._last_lease

    def keep_alive(self, lease: int) -> float:
        found = self._leases.get(lease)
        if found is None:
            return 0.0
        self._leases[lease] = _Lease(found.ttl, anyio.current_time() + found.ttl)
        self.wake()
        return float(found.ttl)

    def end_lease(self, lease: int) -> None:
        """All its keys go in one revision, in key order."""
        if self._leases.pop(lease, None) is None:
            return
        changes: list[Change] = []
        for kv in [kv for kv in self.under("") if kv.lease == lease]:
            self._remove(kv.key, changes)
        self._commit(changes)

    def expire(self) -> None:
        """End the leases whose time has come; every client does it before anything else."""
        now = anyio.current_time()
        for lease in [n for n, lease in self._leases.items() if lease.expires <= now]:
            self.end_lease(lease)

    def next_expiry(self) -> float:
        return min((lease.expires for lease in self._leases.values()), default=float("inf"))

    def wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def _check_leases(self, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                raise ConflictError("the lease is gone; grant a new one")

    def _apply(self, op: Op, changes: list[Change], gets: list[KV | None]) -> None:
        match op:
            case Put():
                self._put(op, changes)
            case Get(key):
                gets.append(self._kvs.get(key))
            case Delete(key):
                self._remove(key, changes)
            case DeletePrefix(prefix):
                for kv in list(self.under(prefix)):
                    self._remove(kv.key, changes)

    def _put(self, op: Put, changes: list[Change]) -> None:
        now, old = self.revision + 1, self._kvs.get(op.key)
        if old is None:
            insort(self._keys, op.key)
            kv = KV(op.key, op.value, now, now, 1, op.lease)
        else:
            kv = KV(op.key, op.value, old.create_revision, now, old.version + 1, op.lease)
        self._kvs[op.key] = kv
        changes.append((op.key, kv))

    def _remove(self, key: str, changes: list[Change]) -> None:
        if self._kvs.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
            changes.append((key, None))

    def _commit(self, changes: list[Change]) -> None:
        if changes:
            self.revision += 1
            self._history.append(Batch(self.revision, tuple(changes)))
            self.wake()


class MemoryEtcd:
    """Implements ``api.Etcd``: one client of ``store``, its keys under ``namespace``.

    ``latency`` seconds pass before each answer, so that other tasks get their turn. Put another
    ``store`` in place, and etcd was restored, emptied or replaced: ``seen`` judges that.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        namespace: str = "",
        latency: float = 0.001,
        seen: Seen | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        self._seen = seen or Seen()
        self._namespace = namespace
        self._latency = latency
        self._down = False
        self._answers_to_lose = 0
        self._cuts = 0

    # -- cruelty ---------------------------------------------------------------------------

    def outage(self, *, down: bool) -> None:
        """Nothing reaches etcd while ``down``; watches that were open break."""
        self._down = down
        if down:
            self.cut_watches()

    def cut_watches(self) -> None:
        """Break every open watch of this client; new ones may be opened at once."""
        self._cuts += 1
        self.store.wake()

    def lose_answers(self, n: int) -> None:
        """The next ``n`` writes are applied, then raise AmbiguousError."""
        self._answers_to_lose = n

    # -- the contract ----------------------------------------------------------------------

    async def get(self, key: str) -> KV | None:
        await self._request()
        return self._strip(self.store.get(self._namespace + key))

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        await self._request()
        first = None if start is None else self._namespace + start
        kvs = tuple(map(self._stripped, self.store.under(self._namespace + prefix, first)))
        more = 0 < limit < len(kvs)
        return Snapshot(self.store.revision, kvs[:limit] if limit else kvs, more)

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        await self._request()
        check_form(compares, then, otherwise)
        add = self._add
        result = self.store.txn(
            [add(c) for c in compares], [add(op) for op in then], [add(op) for op in otherwise]
        )
        if any(not isinstance(op, Get) for op in (*then, *otherwise)):
            self._answer_write()
        return replace(result, gets=tuple(map(self._strip, result.gets)))

    async def grant(self, ttl: int) -> int:
        await self._request()
        lease = self.store.grant(ttl)
        self._answer_write()
        return lease

    async def keep_alive(self, lease: int) -> float:
        await self._request()
        return self.store.keep_alive(lease)

    async def revoke(self, lease: int) -> None:
        await self._request()
        self.store.end_lease(lease)
        self._answer_write()

    async def status(self) -> Status:
        await self._request()
        return Status("memory", self.store.cluster_id, self.store.revision, 0, has_leader=True)

    async def aclose(self) -> None:
        self.outage(down=True)

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        await self._request()
        start = self.store.revision + 1 if since is None else since
        stream = self._follow(self._namespace + prefix, start, self._cuts)
        try:
            yield stream
        finally:
            await stream.aclose()

    # -- inside ----------------------------------------------------------------------------

    async def _follow(self, prefix: str, since: int, cuts: int) -> AsyncGenerator[Batch]:
        """Bookmarks come as soon as a revision without a change for us exists."""
        yield Batch(since - 1)
        while True:
            self.store.expire()
            changed = self.store.changed
            for batch in self.store.since(since):
                if self._cuts != cuts:
                    break
                since = batch.revision + 1
                yield self._seen_under(prefix, batch)
            if self._cuts != cuts:
                raise UnavailableError("watch broken")
            if self.store.changed is changed:
                with anyio.move_on_after(self.store.next_expiry() - anyio.current_time()):
                    await changed.wait()

    def _seen_under(self, prefix: str, batch: Batch) -> Batch:
        changes = tuple(
            (key[len(self._namespace) :], self._strip(kv))
            for key, kv in batch.changes
            if key.startswith(prefix)
        )
        return Batch(batch.revision, changes)

    async def _request(self) -> None:
        await anyio.sleep(self._latency)
        self.store.expire()
        if self._down:
            raise UnavailableError("etcd is down")
        self._seen.judge(self.store.cluster_id, self.store.revision, self._seen.floor)

    def _answer_write(self) -> None:
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            raise AmbiguousError("the answer was lost")

    def _strip(self, kv: KV | None) -> KV | None:
        return None if kv is None else self._stripped(kv)

    def _stripped(self, kv: KV) -> KV:
        return replace(kv, key=kv.key[len(self._namespace) :]) if self._namespace else kv

    def _add(self, item: _Keyed) -> _Keyed:
        if not self._namespace:
            return item
        if isinstance(item, NoneUnder | DeletePrefix):
            return replace(item, prefix=self._namespace + item.prefix)
        return replace(item, key=self._namespace + item.key)


def check_form(compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> None:
    """Refuse what etcd refuses. Raises BadRequestError.

    >>> check_form([], [Delete("/a"), Delete("/a")], [])
    >>> check_form([], [DeletePrefix("/"), Put("/a", b"")], [])
    Traceback (most recent call last):
    pkg.etcd.api.BadRequestError: one key twice in a transaction
    """
    sent = sum(2 if c == LeaseIs(c.key, 0) else 1 for c in compares if not isinstance(c, NoneUnder))
    sent += sum(isinstance(c, NoneUnder) for c in compares)
    if max(sent, len(then), len(otherwise)) > MAX_TXN_OPS:
        raise BadRequestError("too many operations in a transaction")
    for ops in (then, otherwise):
        _check_branch(ops)
    if sum(len(op.value) for op in (*then, *otherwise) if isinstance(op, Put)) > MAX_REQUEST_BYTES:
        raise BadRequestError("request too large")


def _check_branch(ops: Sequence[Op]) -> None:
    """A key is put at most once, and not deleted in the same branch; deletes may overlap."""
    puts = [op.key for op in ops if isinstance(op, Put)]
    taken = set(puts)
    deleted = {op.key for op in ops if isinstance(op, Delete)}
    prefixes = tuple(op.prefix for op in ops if isinstance(op, DeletePrefix))
    again = len(taken) < len(puts) or taken & deleted
    if again or any(key.startswith(prefixes) for key in puts):
        raise BadRequestError("one key twice in a transaction")

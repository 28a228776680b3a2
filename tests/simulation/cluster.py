"""etcd as the simulation has it: one ``MemoryStore``, and one line to it per daemon.

What a key is, and what a transaction does, is the store's (held to the contract suite); here is
only the way there and back: latency, outages, a stopped etcd, black holes, lost answers, watches
that lag. Expired leases wait until etcd runs: after a long stop they all end at once.
"""

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import anyio

from pkg.etcd.api import (
    KV,
    AmbiguousError,
    Batch,
    CompactedError,
    Compare,
    Get,
    Op,
    Snapshot,
    Status,
    TxnResult,
    UnavailableError,
)
from pkg.etcd.memory import MemoryStore, check_form

T = TypeVar("T")
DEADLINE_SECONDS = 2.0  # of every call, as in pkg.etcd.client
DEAF_SECONDS = 10.5  # until a watch in a black hole is noticed (facts.md)
LATENCIES = (0.0005, 0.001, 0.002, 0.01)  # one way
LATE_SHARE = 0.2  # of the writes a stopped etcd was sent, so many are executed when it wakes


class Observer(Protocol):
    """Told of each write at the very moment it happens, before anybody else can act."""

    def wrote(self, who: str, changes: Sequence[tuple[str, KV | None]]) -> None: ...


class Cluster(MemoryStore):
    """``running`` False: stopped (SIGSTOP) or dead; ``reachable`` False: it refuses."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.running = anyio.Event()
        self.running.set()
        self.reachable = True
        self._observer = observer
        self._streams: dict[Stream, None] = {}
        self._told = self.revision
        self._late: list[Callable[[], object]] = []
        self.writer = "etcd"

    def wake(self) -> None:
        """Called by the store after each write (and renewal): tell watchers of what is new."""
        if self.revision == self._told:
            return
        for batch in self.since(self._told + 1):
            self._observer.wrote(self.writer, batch.changes)
            for stream in self._streams:
                stream.offer(batch)
        self._told = self.revision

    def expire(self) -> None:
        if self.running.is_set() and self.reachable:
            super().expire()

    def stop(self) -> None:
        """SIGSTOP: nothing is answered, time goes on for the leases."""
        self.running = anyio.Event()

    def go_on(self) -> None:
        self.expire_now()
        self.running.set()
        for act in self._late:
            act()
        self._late.clear()

    def expire_now(self) -> None:
        super().expire()

    def die(self) -> None:
        """Connections are refused; every watch breaks."""
        self.reachable = False
        for stream in list(self._streams):
            stream.fail(UnavailableError("etcd is down"))

    def rise(self) -> None:
        """Leases begin anew, as after a restart (facts.md)."""
        for lease in list(self._leases):
            self.keep_alive(lease)
        self.reachable = True

    def execute_late(self, act: Callable[[], object]) -> None:
        self._late.append(act)

    def forget_history(self) -> None:
        """Compaction, and every watch is cut; those that lag behind are told that it is over."""
        self.compact()
        for stream in list(self._streams):
            lags = stream.lags
            stream.fail(CompactedError(self.revision) if lags else UnavailableError("cut"))

    def book(self) -> None:
        """A bookmark for every watch that shows less than there is."""
        for stream in self._streams:
            stream.bookmark(self.revision)

    def add(self, stream: "Stream") -> None:
        self._streams[stream] = None

    def drop(self, stream: "Stream") -> None:
        self._streams.pop(stream, None)


class Line:
    """Implements ``api.Etcd``: one daemon's connection."""

    def __init__(self, cluster: Cluster, who: str, rng: random.Random, lag: float) -> None:
        self.cluster = cluster
        self.who = who
        self.dead = False
        self.open = anyio.Event()  # not set: a black hole
        self.open.set()
        self.answers_to_lose = 0
        self._rng = rng
        self._lag = lag
        self._streams: list[Stream] = []

    # -- cruelty ---------------------------------------------------------------------------

    def close(self) -> None:
        """Every packet is dropped, both ways."""
        self.open = anyio.Event()

    def cut_watches(self) -> None:
        for stream in self._streams:
            stream.fail(UnavailableError("watch broken"))

    # -- the contract ----------------------------------------------------------------------

    async def get(self, key: str) -> KV | None:
        return await self._read(lambda: self.cluster.get(key))

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        def act() -> Snapshot:
            kvs = tuple(self.cluster.under(prefix, start))
            more = 0 < limit < len(kvs)
            return Snapshot(self.cluster.revision, kvs[:limit] if limit else kvs, more)

        return await self._read(act)

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        check_form(compares, then, otherwise)
        act = lambda: self.cluster.txn(compares, then, otherwise)  # noqa: E731
        if all(isinstance(op, Get) for op in (*then, *otherwise)):
            return await self._read(act)
        return await self._write(act)

    async def grant(self, ttl: int) -> int:
        return await self._write(lambda: self.cluster.grant(ttl))

    async def keep_alive(self, lease: int) -> float:
        return await self._read(lambda: self.cluster.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        await self._write(lambda: self.cluster.end_lease(lease))

    async def status(self) -> Status:
        return await self._read(lambda: Status("memory", 1, self.cluster.revision, 0, True))

    async def aclose(self) -> None:
        self.cut_watches()

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        start = await self._read(lambda: self.cluster.revision + 1 if since is None else since)
        stream = Stream(self, prefix, self._rng, self._lag)
        stream.begin(start)
        self._streams.append(stream)
        self.cluster.add(stream)
        try:
            yield stream
        finally:
            self.cluster.drop(stream)
            self._streams.remove(stream)

    # -- the way there and back ------------------------------------------------------------

    async def _read(self, act: Callable[[], T]) -> T:
        await self._travel()
        if not await self._arrives():
            raise UnavailableError("etcd did not answer in time")
        self.cluster.expire()
        answer = act()
        await self._travel_back()
        return answer

    async def _write(self, act: Callable[[], T]) -> T:
        await self._travel()
        if not await self._arrives():
            if self.open.is_set() and self._rng.random() < LATE_SHARE:
                self.cluster.execute_late(lambda: self._execute(act))
            raise AmbiguousError("etcd did not answer in time")
        self.cluster.expire()
        answer = self._execute(act)
        await self._travel_back()
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise AmbiguousError("the answer was lost")
        return answer

    def _execute(self, act: Callable[[], T]) -> T:
        self.cluster.writer = self.who
        try:
            return act()
        finally:
            self.cluster.writer = "etcd"

    async def _travel(self) -> None:
        if self.dead:
            await anyio.sleep_forever()
        await anyio.sleep(self._rng.choice(LATENCIES))

    async def _travel_back(self) -> None:
        """Half the answers are there at once: nobody gets a turn between write and answer."""
        if self.dead or self._rng.random() < 0.5:
            await self._travel()

    async def _arrives(self) -> bool:
        """False if no answer came before the deadline. Raises UnavailableError."""
        if not self.cluster.reachable:
            raise UnavailableError("etcd is down")
        if self.open.is_set() and self.cluster.running.is_set():
            return True
        with anyio.move_on_after(DEADLINE_SECONDS):
            await self.open.wait()
            await self.cluster.running.wait()
            return True
        return False


class Stream:
    """One watch: whole revisions in order, each once, and bookmarks between them."""

    def __init__(self, line: Line, prefix: str, rng: random.Random, lag: float) -> None:
        self._line = line
        self._prefix = prefix
        self._rng = rng
        self._lag = lag
        self._ready: deque[Batch] = deque()
        self._end: Exception | None = None
        self._news = anyio.Event()
        self._shown = 0

    @property
    def lags(self) -> bool:
        return bool(self._ready)

    def begin(self, start: int) -> None:
        self._put(Batch(start - 1))
        try:
            for batch in self._line.cluster.since(start):
                self.offer(batch)
        except CompactedError as error:
            self.fail(error)

    def offer(self, batch: Batch) -> None:
        found = tuple(change for change in batch.changes if change[0].startswith(self._prefix))
        if found:
            self._put(Batch(batch.revision, found))

    def bookmark(self, revision: int) -> None:
        if self._shown < revision:
            self._put(Batch(revision))

    def fail(self, error: Exception) -> None:
        self._end = self._end or error
        self._ready.clear()
        self._news.set()

    def _put(self, batch: Batch) -> None:
        if self._end is None:
            self._shown = batch.revision
            self._ready.append(batch)
            self._news.set()

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Batch:
        while True:
            await self._some()
            if self._lag:
                await anyio.sleep(self._rng.uniform(0.0, self._lag))
            if not self._line.open.is_set():
                await self._hear()
            if self._ready:  # else it broke meanwhile
                return self._ready.popleft()

    async def _some(self) -> None:
        while not self._ready:
            if self._end is not None:
                raise self._end
            self._news = anyio.Event()
            await self._news.wait()

    async def _hear(self) -> None:
        with anyio.move_on_after(DEAF_SECONDS):
            await self._line.open.wait()
            return
        self.fail(UnavailableError("the watch is silent"))
        raise UnavailableError("the watch is silent")

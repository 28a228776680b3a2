"""A local, read-only, eventually consistent copy of one or more key ranges of etcd.

Each range is listed and watched, without a gap between; on any break that is done again and the
copy swapped. Listeners get keys, never events: they must look at the copy, which is what makes
missed and merged changes harmless. After a swap they hear of vanished keys too. They get the
range's own name when it is listed first, and listed again after a break: what failed meanwhile
may be tried at once.
Ranges can be added and dropped while it runs (``follow``, ``unfollow``), so that a module
watches its own rooms only. Shape after client-go's ``tools/cache`` and etcd's ``cache/``.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup
from pydantic import ValidationError

from pkg import backoff
from pkg.errors import OnairError, TerminalError, TransientError
from pkg.etcd.api import KV, AccessError, Batch, CompactedError, Etcd, Snapshot
from pkg.model import Record

R = TypeVar("R", bound=Record)
log = structlog.get_logger()

# etcd 3.4 may, after a partition, lose or repeat events (facts.md): compare with a full list.
RESYNC_SECONDS = 300.0
STEADY_SECONDS = 5.0  # a watch that lasted so long did not fail at its start


class UndecodableError(TerminalError):
    """A stored value is not what its key promises. Only what needs that key fails."""


@dataclass(slots=True)
class _Range:
    prefix: str
    items: dict[str, KV] = field(default_factory=dict)
    revision: int = 0
    listed: bool = False
    broken_since: float | None = None
    waiters: list[tuple[int, anyio.Event]] = field(default_factory=list)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Informer:
    def __init__(self, etcd: Etcd, prefixes: tuple[str, ...], rng: random.Random) -> None:
        self._etcd = etcd
        self._rng = rng
        self._ranges = {prefix: _Range(prefix) for prefix in prefixes}
        self._listeners: list[Callable[[str], None]] = []
        self._decoded: dict[str, tuple[int, Record]] = {}
        self._tasks: TaskGroup | None = None
        self._told: type[OnairError] | None = None  # what kind of outage was last warned of
        self.synced = anyio.Event()

    @property
    def broken_since(self) -> float | None:
        """Since when some range is not known to be as etcd has it; None if all are."""
        since = [r.broken_since for r in self._ranges.values() if r.broken_since is not None]
        return min(since, default=None)

    # -- reading the copy ------------------------------------------------------------------

    def get(self, key: str) -> KV | None:
        found = self._range(key)
        return found.items.get(key) if found else None

    def record(self, key: str, kind: type[R]) -> R | None:
        """The decoded value; None if the key is absent. Raises UndecodableError."""
        kv = self.get(key)
        if kv is None:
            return None
        cached = self._decoded.get(key)
        if cached is not None and cached[0] == kv.mod_revision and isinstance(cached[1], kind):
            return cached[1]
        record = decode(kv, kind)
        self._decoded[key] = (kv.mod_revision, record)
        return record

    def mod_revision(self, key: str) -> int:
        """0 if the key is absent, as in a compare."""
        kv = self.get(key)
        return kv.mod_revision if kv else 0

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key of the copy under ``prefix``. Walks the whole range."""
        for found in self._ranges.values():
            if found.prefix.startswith(prefix) or prefix.startswith(found.prefix):
                yield from (key for key in found.items if key.startswith(prefix))

    def revision(self, prefix: str) -> int:
        """The revision the range's copy stands at."""
        return self._ranges[prefix].revision

    def _range(self, key: str) -> _Range | None:
        """Ranges are folders (they end with a slash) or single keys, and never overlap."""
        everything = self._ranges.get("/")
        if everything is not None:
            return everything
        at = key.find("/", 1)
        while at >= 0:
            found = self._ranges.get(key[: at + 1])
            if found is not None:
                return found
            at = key.find("/", at + 1)
        return self._ranges.get(key)

    def is_listed(self, prefix: str) -> bool:
        found = self._ranges.get(prefix)
        return found is not None and found.listed

    # -- being told ------------------------------------------------------------------------

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    async def reached(self, key: str, revision: int) -> None:
        """Wait until the copy of the range that holds ``key`` stands at ``revision`` or later,
        or is dropped."""
        found = self._range(key)
        if found is None or found.revision >= revision:
            return
        event = anyio.Event()
        found.waiters.append((revision, event))
        await event.wait()

    # -- ranges ----------------------------------------------------------------------------

    def follow(self, prefix: str) -> None:
        """Add a range; listeners get its keys, and its name once it is listed."""
        if prefix not in self._ranges:
            self._ranges[prefix] = added = _Range(prefix)
            if self._tasks is not None:
                self._tasks.start_soon(self._maintain, added)

    def unfollow(self, prefix: str) -> None:
        dropped = self._ranges.pop(prefix, None)
        if dropped is not None:
            dropped.scope.cancel()
            for _, waiting in dropped.waiters:
                waiting.set()
            for key in dropped.items:
                self._decoded.pop(key, None)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for found in list(self._ranges.values()):
                tasks.start_soon(self._maintain, found)
            await anyio.sleep_forever()

    async def _maintain(self, found: _Range) -> None:
        failures = 0
        with found.scope:
            while True:
                began = anyio.current_time()
                try:
                    await self._list_and_watch(found)
                except CompactedError:
                    log.info("informer.compacted", prefix=found.prefix)
                except (TransientError, AccessError) as error:
                    if isinstance(error, AccessError) and not self.synced.is_set():
                        raise  # at the start it ends the start; later it must end nothing
                    steady = anyio.current_time() - began >= STEADY_SECONDS
                    failures = 0 if steady else failures + 1
                    self._lost(found, error)
                    await anyio.sleep(backoff.delay(failures, self._rng, cap=2.0))

    def _lost(self, found: _Range, error: OnairError) -> None:
        """An outage strikes every range at once: one warning for each kind of it is enough."""
        tell = log.debug if self._told is type(error) else log.warning
        self._told = type(error)
        tell("informer.lost", prefix=found.prefix, error=str(error))
        if found.listed and found.broken_since is None:
            found.broken_since = anyio.current_time()

    def _found(self, found: _Range) -> None:
        since, found.broken_since = self.broken_since, None
        if self.broken_since is not None:
            return
        self._told = None
        if since is not None:
            log.info("informer.recovered", after=round(anyio.current_time() - since, 3))

    async def _list_and_watch(self, found: _Range) -> None:
        """List, for whoever waits; watch from now on; list again if something came between.

        Not from the list's revision on: etcd serves the past only every 100 ms.
        """
        self._swap(found, await self._etcd.range(found.prefix))
        with anyio.move_on_after(RESYNC_SECONDS * self._rng.uniform(0.8, 1.2)):
            async with self._etcd.watch(found.prefix, since=None) as batches:
                begun = await anext(batches)
                if begun.revision > found.revision:
                    self._swap(found, await self._etcd.range(found.prefix))
                async for batch in batches:
                    if batch.revision > found.revision:
                        self._apply(found, batch)

    def _swap(self, found: _Range, snapshot: Snapshot) -> None:
        """An etcd that went back never gets here, unless the operator accepted it (``seen``)."""
        before, found.items = found.items, {kv.key: kv for kv in snapshot.kvs}
        for key in before.keys() - found.items.keys():
            self._decoded.pop(key, None)
        news = not found.listed or found.broken_since is not None
        found.listed = True
        self._found(found)
        found.revision = snapshot.revision
        self._advance(found, snapshot.revision)
        for key in sorted(before.keys() | found.items.keys()):
            if before.get(key) != found.items.get(key):
                self._notify(key)
        if news:
            self._notify(found.prefix)
        if all(other.listed for other in self._ranges.values()):
            self.synced.set()

    def _apply(self, found: _Range, batch: Batch) -> None:
        for key, kv in batch.changes:
            if kv is None:
                found.items.pop(key, None)
                self._decoded.pop(key, None)
            else:
                found.items[key] = kv
        self._advance(found, batch.revision)
        for key, _ in batch.changes:
            self._notify(key)

    def _advance(self, found: _Range, revision: int) -> None:
        found.revision = max(found.revision, revision)
        for waiting in [w for w in found.waiters if w[0] <= found.revision]:
            found.waiters.remove(waiting)
            waiting[1].set()

    def _notify(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)


def decode(kv: KV, kind: type[R]) -> R:
    """Raises UndecodableError naming the key, never its value (it may hold secrets)."""
    try:
        return kind.decode(kv.value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "value"
        raise UndecodableError(
            f"{kv.key} is not a {kind.__name__}: {where}: {first['msg']}"
        ) from None

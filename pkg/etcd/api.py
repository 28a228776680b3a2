"""What Onair needs from etcd, and its failures. Two implementations: ``client``, ``memory``.

Keys are ``str`` and always absolute (``/rooms/x/meta``); an implementation may live under a
namespace (``ONAIR_ETCD_PREFIX``), which it adds and strips, so that no caller ever sees it.
Semantics are etcd's own (https://etcd.io/docs/v3.5/learning/api/): every read is linearizable,
a transaction is atomic and all its changes share one revision. One contract suite
(``tests/contract``) runs on both implementations.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pkg.errors import OnairError, TerminalError, TransientError

MAX_TXN_OPS = 128  # etcd's default --max-txn-ops; compares count against it separately


class UnavailableError(TransientError):
    """etcd could not be reached, or a stream broke. A write that raises this was NOT applied."""


class AmbiguousError(TransientError):
    """The outcome of a write is unknown: it may have been applied. Read back, never resend."""


class ConflictError(TransientError):
    """A compare failed: somebody wrote the key since it was read. Read again and plan again."""


class CompactedError(OnairError):
    """The revision asked for is gone; list again. ``compact_revision`` is the oldest left."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"revision compacted; oldest is {compact_revision}")
        self.compact_revision = compact_revision


class StorageFullError(TransientError):
    """etcd raised its NOSPACE alarm: compact, defragment, then `etcdctl alarm disarm`."""


class AccessError(TerminalError):
    """Wrong user, password, role or certificate; retrying cannot help."""


class BadRequestError(TerminalError):
    """etcd refused the request's form: too large, too many operations, one key twice."""


@dataclass(frozen=True, slots=True)
class KV:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int = 1
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything under a prefix at one revision, in key order (up to ``limit``)."""

    revision: int
    kvs: tuple[KV, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes of one revision under the watched prefix, in order of the key's write.

    ``None`` stands for a deleted key. No changes: a bookmark, saying that nothing up to
    ``revision`` is missing (etcd's progress notification).
    """

    revision: int
    changes: tuple[tuple[str, KV | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ModIs:
    """The key's mod_revision equals ``revision``; 0 means the key does not exist."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class CreatedIs:
    """The key's create_revision equals ``revision``; 0 means the key does not exist."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class NoneUnder:
    """No key exists under the prefix (range compare, create_revision == 0)."""

    prefix: str


@dataclass(frozen=True, slots=True)
class LeaseIs:
    """The key exists and is attached to this lease (0: to none)."""

    key: str
    lease: int


Compare: TypeAlias = ModIs | CreatedIs | NoneUnder | LeaseIs


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    prefix: str


@dataclass(frozen=True, slots=True)
class Get:
    key: str


Op: TypeAlias = Put | Delete | DeletePrefix | Get


@dataclass(frozen=True, slots=True)
class TxnResult:
    """``gets`` holds, in order, the answer of each ``Get`` of the branch that ran."""

    succeeded: bool
    revision: int
    gets: tuple[KV | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What the answering member says of itself; ``cluster_id`` tells a foreign etcd."""

    version: str
    cluster_id: int
    revision: int
    db_size_bytes: int
    has_leader: bool


class Etcd(Protocol):
    """Every call ends within its deadline (2 s by default) with an answer or an error above.

    Reads raise UnavailableError; writes raise UnavailableError (surely not applied) or
    AmbiguousError (perhaps applied).
    """

    async def get(self, key: str) -> KV | None: ...

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        """List keys under ``prefix``; ``start`` (inclusive, itself under ``prefix``) pages on.

        ``limit`` 0 means all. Linearizable and complete, or it raises.
        """
        ...

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult: ...

    async def grant(self, ttl: int) -> int:
        """Create a lease of ``ttl`` seconds; answers its id."""
        ...

    async def keep_alive(self, lease: int) -> float:
        """Renew once; answers the seconds left. 0 means the lease is gone."""
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; an unknown lease is no error."""
        ...

    def watch(
        self, prefix: str, *, since: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Follow every change under ``prefix`` from revision ``since`` (inclusive) on.

        None: from now on. That is quicker: etcd serves a watch from a past revision, even the
        one just before, only every 100 ms.

        The iterator yields a bookmark of the revision it begins behind, then whole revisions in
        rising order, each once, and bookmarks between them. It raises UnavailableError when the
        stream breaks (also when it is silently dead: a black hole is noticed within about 15 s,
        a lost quorum too) and CompactedError when ``since`` is gone. It never resumes by itself.
        """
        ...

    async def status(self) -> Status: ...

    async def aclose(self) -> None: ...


async def commit(etcd: Etcd, compares: Sequence[Compare], then: Sequence[Op]) -> int:
    """Run a guarded write that must succeed; answers its revision, raises ConflictError."""
    result = await etcd.txn(compares, then)
    if not result.succeeded:
        raise ConflictError("compare failed on " + ", ".join(describe(c) for c in compares))
    return result.revision


def describe(compare: Compare) -> str:
    """Name a compare for logs.

    >>> describe(ModIs("/a", 7))
    '/a mod=7'
    """
    match compare:
        case ModIs(key, revision):
            return f"{key} mod={revision}"
        case CreatedIs(key, revision):
            return f"{key} created={revision}"
        case NoneUnder(prefix):
            return f"{prefix}* absent"
        case LeaseIs(key, lease):
            return f"{key} lease={lease}"

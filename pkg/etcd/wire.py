"""Our records to etcd's protobuf messages and back, with the namespace added and stripped.

Pure: no I/O. Called by ``client``. Keys are UTF-8 whose undecodable bytes
survive as surrogates, so that a foreign key under our prefix never fails a whole list.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from pkg.etcd.api import (
    KV,
    Batch,
    Compare,
    CreatedIs,
    Delete,
    DeletePrefix,
    Get,
    LeaseIs,
    ModIs,
    NoneUnder,
    Op,
    Put,
    TxnResult,
)
from pkg.etcd.rpc import pb

_MOD = pb.Compare.MOD
_CREATE = pb.Compare.CREATE
_LEASE = pb.Compare.LEASE
_GREATER = pb.Compare.GREATER


class Wire:
    """Adds ``namespace`` to every key on the way out and strips it on the way in.

    >>> wire = Wire("/a")
    >>> wire.span("/rooms/"), wire.strip(b"/a/rooms/x")
    ((b'/a/rooms/', b'/a/rooms0'), '/rooms/x')
    """

    def __init__(self, namespace: str) -> None:
        self._prefix = namespace.encode()
        self._skip = len(self._prefix)

    def key(self, key: str) -> bytes:
        return self._prefix + key.encode("utf-8", "surrogateescape")

    def strip(self, key: bytes) -> str:
        return key[self._skip :].decode("utf-8", "surrogateescape")

    def span(self, prefix: str) -> tuple[bytes, bytes]:
        """The half-open range of keys under a prefix. UTF-8 holds no 0xff: adding 1 is enough."""
        key = self.key(prefix)
        if not key:
            return b"\0", b"\0"  # etcd's way to say "every key"
        return key, key[:-1] + bytes((key[-1] + 1,))

    def kv(self, kv: Any) -> KV:
        key = kv.key[self._skip :].decode("utf-8", "surrogateescape")
        return KV(key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)

    def txn(self, compares: Iterable[Compare], then: Iterable[Op], otherwise: Iterable[Op]) -> Any:
        return pb.TxnRequest(
            compare=[made for compare in compares for made in self._compares(compare)],
            success=[self._op(op) for op in then],
            failure=[self._op(op) for op in otherwise],
        )

    def result(self, response: Any) -> TxnResult:
        """``gets`` in the branch's order; only a Get answers with a range."""
        ranges = (r.response_range.kvs for r in response.responses if r.HasField("response_range"))
        gets = tuple(self.kv(kvs[0]) if kvs else None for kvs in ranges)
        return TxnResult(response.succeeded, response.header.revision, gets)

    def watch(self, prefix: str, since: int) -> Any:
        first, end = self.span(prefix)
        create = pb.WatchCreateRequest(
            key=first, range_end=end, start_revision=since, progress_notify=True
        )
        return pb.WatchRequest(create_request=create)

    def batches(self, response: Any, seen: int) -> Iterator[Batch]:
        """Whole revisions newer than ``seen``: 3.4 may repeat an event or go back in time."""
        for revision, group in groupby(response.events, key=attrgetter("kv.mod_revision")):
            if revision > seen:
                seen = revision
                yield Batch(revision, tuple(map(self._change, group)))

    def _change(self, event: Any) -> tuple[str, KV | None]:
        if event.type == pb.Event.DELETE:
            return self.strip(event.kv.key), None
        kv = self.kv(event.kv)
        return kv.key, kv

    def _op(self, op: Op) -> Any:
        match op:
            case Put(key, value, lease):
                put = pb.PutRequest(key=self.key(key), value=value, lease=lease)
                return pb.RequestOp(request_put=put)
            case Get(key):
                return pb.RequestOp(request_range=pb.RangeRequest(key=self.key(key)))
            case Delete(key):
                return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=self.key(key)))
            case DeletePrefix(prefix):
                first, end = self.span(prefix)
                delete = pb.DeleteRangeRequest(key=first, range_end=end)
                return pb.RequestOp(request_delete_range=delete)

    def _compares(self, compare: Compare) -> tuple[Any, ...]:
        """A missing key compares as lease 0, so "attached to none" needs "exists" beside it."""
        match compare:
            case ModIs(key, revision):
                return (pb.Compare(key=self.key(key), target=_MOD, mod_revision=revision),)
            case CreatedIs(key, revision):
                return (pb.Compare(key=self.key(key), target=_CREATE, create_revision=revision),)
            case NoneUnder(prefix):
                first, end = self.span(prefix)
                return (pb.Compare(key=first, range_end=end, target=_CREATE, create_revision=0),)
            case LeaseIs(key, 0):
                name = self.key(key)
                exists = pb.Compare(key=name, target=_CREATE, result=_GREATER, create_revision=0)
                return (exists, pb.Compare(key=name, target=_LEASE, lease=0))
            case LeaseIs(key, lease):
                return (pb.Compare(key=self.key(key), target=_LEASE, lease=lease),)

"""etcd over grpc.aio, with the stubs that ``aetcd`` ships. The only file that knows gRPC.

Every surprise of facts.md is answered here: a dead connection is noticed by keepalive, a channel
comes back at once after a long outage, a lost quorum ends a watch (``hasleader``), every call has
a deadline, and a write whose fate is unknown raises AmbiguousError instead of being sent again.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # noqa: TID251  children die without it

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs
from pydantic import SecretStr

from pkg.errors import ConfigError, OnairError
from pkg.etcd.api import (
    KV,
    AccessError,
    AmbiguousError,
    BadRequestError,
    Batch,
    CompactedError,
    Compare,
    Op,
    Snapshot,
    Status,
    StorageFullError,
    TxnResult,
    UnavailableError,
)
from pkg.etcd.wire import Wire

DEADLINE_SECONDS = 2.0
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)
HAS_LEADER = (("hasleader", "true"),)
Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """``endpoints`` are http:// or https:// URLs; ``namespace`` stands before every key."""

    endpoints: Sequence[str]
    namespace: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None
    deadline: float = DEADLINE_SECONDS


class _Member:
    """One endpoint: its channel and stubs."""

    def __init__(self, url: str, options: EtcdOptions) -> None:
        scheme, _, target = url.partition("://")
        target = target.rstrip("/")
        self.channel = (
            grpc.aio.secure_channel(target, _credentials(options), CHANNEL_OPTIONS)
            if scheme == "https"
            else grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
        )
        self.kv = stubs.KVStub(self.channel)
        self.lease = stubs.LeaseStub(self.channel)
        self.watch = stubs.WatchStub(self.channel)
        self.auth = stubs.AuthStub(self.channel)
        self.maintenance = stubs.MaintenanceStub(self.channel)


def _credentials(options: EtcdOptions) -> Any:
    def read(path: Path | None) -> bytes | None:
        try:
            return path.read_bytes() if path else None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None

    return grpc.ssl_channel_credentials(
        read(options.ca_file), read(options.key_file), read(options.cert_file)
    )


class EtcdClient:
    """Implements ``api.Etcd``. Make it, use it and close it on one asyncio loop."""

    def __init__(self, options: EtcdOptions) -> None:
        self._options = options
        self._wire = Wire(options.namespace)
        self._members = [_Member(url, options) for url in options.endpoints]
        self._at = 0
        self._token: str | None = None

    async def get(self, key: str) -> KV | None:
        request = pb.RangeRequest(key=self._wire.key(key))
        response = await self._read(lambda m: m.kv.Range, request)
        return self._wire.kv(response.kvs[0]) if response.kvs else None

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        first, end = self._wire.span(prefix)
        request = pb.RangeRequest(
            key=self._wire.key(start) if start else first, range_end=end, limit=limit
        )
        response = await self._read(lambda m: m.kv.Range, request)
        kvs = tuple(map(self._wire.kv, response.kvs))
        return Snapshot(response.header.revision, kvs, response.more)

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        request = self._wire.txn(compares, then, otherwise)
        return self._wire.result(await self._write(lambda m: m.kv.Txn, request))

    async def grant(self, ttl: int) -> int:
        request = pb.LeaseGrantRequest(TTL=ttl)
        lease: int = (await self._write(lambda m: m.lease.LeaseGrant, request)).ID
        return lease

    async def keep_alive(self, lease: int) -> float:
        async def once(member: _Member) -> float:
            call = member.lease.LeaseKeepAlive(
                timeout=self._options.deadline, metadata=self._metadata()
            )
            await call.write(pb.LeaseKeepAliveRequest(ID=lease))
            response = await call.read()
            call.cancel()
            if response is grpc.aio.EOF:
                raise UnavailableError("etcd ended the renewal stream")
            return float(response.TTL)

        return await self._attempt(once, write=False)

    async def revoke(self, lease: int) -> None:
        try:
            await self._write(lambda m: m.lease.LeaseRevoke, pb.LeaseRevokeRequest(ID=lease))
        except _LeaseNotFoundError:
            return

    async def status(self) -> Status:
        found = await self._read(lambda m: m.maintenance.Status, pb.StatusRequest())
        return Status(
            version=found.version,
            cluster_id=found.header.cluster_id,
            revision=found.header.revision,
            db_size_bytes=found.dbSize,
            has_leader=found.leader != 0,
        )

    async def aclose(self) -> None:
        for member in self._members:
            await member.channel.close()

    @asynccontextmanager
    async def watch(self, prefix: str, *, since: int) -> AsyncGenerator[AsyncIterator[Batch]]:
        await self._authenticate_if_needed()
        member = self._member()
        call = member.watch.Watch(metadata=(*HAS_LEADER, *self._metadata()))
        stream = self._stream(call, prefix, since)
        try:
            yield stream
        finally:
            await stream.aclose()
            call.cancel()

    async def _stream(self, call: Any, prefix: str, since: int) -> AsyncGenerator[Batch]:
        key, end = self._wire.span(prefix)
        create = pb.WatchCreateRequest(
            key=key, range_end=end, start_revision=since, progress_notify=True
        )
        try:
            await call.write(pb.WatchRequest(create_request=create))
            async for batch in self._responses(call, since - 1):
                yield batch
        except grpc.aio.AioRpcError as error:
            self._rotate()
            raise _translated(error, write=False) from None
        raise UnavailableError("etcd ended the watch")

    async def _responses(self, call: Any, seen: int) -> AsyncGenerator[Batch]:
        while True:
            response = await call.read()
            if response is grpc.aio.EOF:
                return
            if response.canceled:
                if response.compact_revision:
                    raise CompactedError(response.compact_revision)
                raise UnavailableError(f"etcd cancelled the watch: {response.cancel_reason}")
            for batch in self._wire.batches(response, seen):
                seen = batch.revision
                yield batch
            if not response.events and not response.created and response.header.revision > seen:
                seen = response.header.revision
                yield Batch(seen)

    # -- calls -----------------------------------------------------------------------------

    async def _read(self, method: Callable[[_Member], Any], request: Any) -> Any:
        return await self._call(method, request, write=False)

    async def _write(self, method: Callable[[_Member], Any], request: Any) -> Any:
        return await self._call(method, request, write=True)

    async def _call(self, method: Callable[[_Member], Any], request: Any, *, write: bool) -> Any:
        async def once(member: _Member) -> Any:
            return await method(member)(
                request, timeout=self._options.deadline, metadata=self._metadata()
            )

        return await self._attempt(once, write=write)

    async def _attempt(self, once: Callable[[_Member], Awaitable[Any]], *, write: bool) -> Any:
        """Once; again after logging in, or on the next member if nothing can have happened."""
        await self._authenticate_if_needed()
        tries = len(self._members) + 1
        while True:
            tries -= 1
            try:
                return await once(self._member())
            except grpc.aio.AioRpcError as error:
                translated = _translated(error, write=write)
                if isinstance(translated, (UnavailableError, AmbiguousError)):
                    self._rotate()
                again = isinstance(translated, (UnavailableError, _LoginNeededError))
                if (
                    not again
                    or tries <= 0
                    or (len(self._members) == 1 and not _is_login(translated))
                ):
                    raise translated from None
                if _is_login(translated):
                    self._token = None
                    await self._authenticate_if_needed()

    def _member(self) -> _Member:
        return self._members[self._at % len(self._members)]

    def _rotate(self) -> None:
        self._at += 1

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("token", self._token),) if self._token else ()

    async def _authenticate_if_needed(self) -> None:
        options = self._options
        if options.username is None or self._token is not None:
            return
        password = options.password.get_secret_value() if options.password else ""
        request = pb.AuthenticateRequest(name=options.username, password=password)
        try:
            response = await self._member().auth.Authenticate(request, timeout=options.deadline)
        except grpc.aio.AioRpcError as error:
            self._rotate()
            raise _translated(error, write=False) from None
        self._token = response.token


class _LoginNeededError(AccessError):
    """The token is over; a new one is asked for once."""


class _LeaseNotFoundError(BadRequestError):
    """No such lease: for a revoke, that is success."""


def _is_login(error: OnairError) -> bool:
    return isinstance(error, _LoginNeededError)


def _translated(error: grpc.aio.AioRpcError, *, write: bool) -> OnairError:
    """Our error for gRPC's. Its text is etcd's own words, which never hold values."""
    code, words = error.code(), error.details() or ""
    text = f"etcd: {code.name.lower()}: {words}"
    for fragment, kind in _BY_WORDS:
        if fragment in words:
            return kind(text)
    if "required revision has been compacted" in words:
        return CompactedError(0)
    if code in _BY_CODE:
        return _BY_CODE[code](text)
    surely_unsent = code is Code.UNAVAILABLE and "onnect" in words and "reset" not in words
    if not write or surely_unsent:
        return UnavailableError(text)
    return AmbiguousError(text)


_BY_WORDS: tuple[tuple[str, Callable[[str], OnairError]], ...] = (
    ("invalid auth token", _LoginNeededError),
    ("requested lease not found", _LeaseNotFoundError),
    ("database space exceeded", StorageFullError),
    ("too many requests", UnavailableError),
    ("no leader", UnavailableError),
)
_BY_CODE: dict[grpc.StatusCode, Callable[[str], OnairError]] = {
    Code.PERMISSION_DENIED: AccessError,
    Code.UNAUTHENTICATED: AccessError,
    Code.INVALID_ARGUMENT: BadRequestError,
    Code.FAILED_PRECONDITION: BadRequestError,
    Code.OUT_OF_RANGE: BadRequestError,
    Code.NOT_FOUND: BadRequestError,
    Code.RESOURCE_EXHAUSTED: BadRequestError,
}

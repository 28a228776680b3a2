"""etcd over grpc.aio, with the stubs that ``aetcd`` ships. Every daemon makes one.

Every surprise of facts.md is answered here and in its siblings ``member`` (channels, pings),
``failures`` (what an error means), ``wire`` (messages) and ``rpc`` (the import of grpc). A call
is sent again only if it surely was not executed: no connection, no leader, no valid token.

Every answer is judged by ``seen``. After a failure nothing but a read is sent to a member until
one has been answered: behind the same address there may now be another etcd.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import anyio

from pkg.errors import OnairError
from pkg.etcd.api import (
    KV,
    AccessError,
    AmbiguousError,
    Batch,
    CompactedError,
    Compare,
    ConflictError,
    Get,
    Op,
    Snapshot,
    Status,
    TxnResult,
    UnavailableError,
)
from pkg.etcd.failures import translate, wants_token
from pkg.etcd.member import EtcdOptions, Member, cancellable
from pkg.etcd.rpc import grpc, pb
from pkg.etcd.seen import ForeignError, Seen
from pkg.etcd.wire import Wire

__all__ = ["EtcdClient", "EtcdOptions"]

HAS_LEADER = (("hasleader", "true"),)  # without it a lost quorum is silence, not an error

LAST_EVENTS_SECONDS = 0.02


class _NoTokenError(AccessError):
    """Refused, before anything was done, for want of a valid token: log in and try again."""


class EtcdClient:
    """Implements ``api.Etcd``. Make it, use it and close it inside one asyncio loop."""

    def __init__(self, options: EtcdOptions, seen: Seen | None = None) -> None:
        self._options = options
        self._seen = seen or Seen()
        self._wire = Wire(options.namespace)
        self._members = [Member(url, options) for url in options.endpoints]
        self._turns = cycle(self._members)
        self._member = next(self._turns)
        self._metadata: tuple[tuple[str, str], ...] = HAS_LEADER
        self._login = anyio.Lock()
        self._closed = False

    async def get(self, key: str) -> KV | None:
        request = pb.RangeRequest(key=self._wire.key(key))
        response = await self._read(lambda m: m.range, request)
        return self._wire.kv(response.kvs[0]) if response.kvs else None

    async def range(self, prefix: str, *, limit: int = 0, start: str | None = None) -> Snapshot:
        first, end = self._wire.span(prefix)
        if start is not None:
            first = max(first, self._wire.key(start))
        request = pb.RangeRequest(key=first, range_end=end, limit=limit)
        response = await self._read(lambda m: m.range, request)
        kvs = tuple(map(self._wire.kv, response.kvs))
        return Snapshot(response.header.revision, kvs, response.more)

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        request = self._wire.txn(compares, then, otherwise)
        only_reads = all(type(op) is Get for op in (*then, *otherwise))
        run = self._read if only_reads else self._write
        return self._wire.result(await run(lambda m: m.txn, request))

    async def grant(self, ttl: int) -> int:
        response = await self._write(lambda m: m.grant, pb.LeaseGrantRequest(TTL=ttl))
        return int(response.ID)

    async def keep_alive(self, lease: int) -> float:
        async def renew(member: Member, timeout: float) -> float:
            timeout = await self._prove(member, timeout)
            call = member.keep_alive(timeout=timeout, metadata=self._metadata)
            try:
                await cancellable(call.write(pb.LeaseKeepAliveRequest(ID=lease)))
                response = await cancellable(call.read())
            finally:
                call.cancel()
            if response is grpc.aio.EOF:
                raise UnavailableError(f"etcd at {member.url}: ended the renewal")
            return float(response.TTL)

        return float(await self._attempts(renew, write=False))

    async def revoke(self, lease: int) -> None:
        try:
            await self._write(lambda m: m.revoke, pb.LeaseRevokeRequest(ID=lease))
        except ConflictError:
            return  # the lease is gone already

    async def status(self) -> Status:
        """Ask without ``hasleader``: a member without a leader is an answer here."""

        async def ask(member: Member, timeout: float) -> Any:
            floor, metadata = self._seen.floor, self._metadata[1:]
            request = member.status(pb.StatusRequest(), timeout=timeout, metadata=metadata)
            found = await cancellable(request)
            self._seen.judge(found.header.cluster_id, found.header.revision, 0)
            if found.leader and found.header.revision < floor:  # went back, or is only behind
                member.proven = False
                await self._prove(member, timeout)
            return found

        found = await self._attempts(ask, write=False)
        return Status(
            version=found.version,
            cluster_id=found.header.cluster_id,
            revision=found.header.revision,
            db_size_bytes=found.dbSize,
            has_leader=found.leader != 0,
        )

    async def aclose(self) -> None:
        """End every call and watch. grpc's thread reports the last ones a moment later, and would
        do so to whatever loop runs then, if this one were closed meanwhile.
        """
        if self._closed:
            return
        self._closed = True
        for member in self._members:
            await member.channel.close()
        await anyio.sleep(LAST_EVENTS_SECONDS)

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        """On entering, etcd has registered the watch. Many share the one connection."""

        async def start(member: Member, timeout: float) -> tuple[Member, Any, int]:
            timeout = await self._prove(member, timeout)
            request = self._wire.watch(prefix, since or 0)
            return member, *await self._open(member, timeout, request)

        member, call, begun = await self._attempts(start, write=False)
        stream = self._follow(member, call, begun if since is None else since - 1)
        try:
            yield stream
        finally:
            call.cancel()
            await stream.aclose()

    # -- watching --------------------------------------------------------------------------

    async def _open(self, member: Member, timeout: float, request: Any) -> tuple[Any, int]:
        """The call, and etcd's revision when it registered the watch."""
        call = member.watch(metadata=self._metadata)
        accepted = False
        try:
            with anyio.fail_after(timeout):
                await cancellable(call.write(request))
                created = await cancellable(call.read())
                self._check(member, created)
            accepted = True
        except TimeoutError:
            self._leave(member)
            raise UnavailableError(f"etcd at {member.url}: the watch was not accepted") from None
        finally:
            if not accepted:
                call.cancel()
        return call, created.header.revision

    async def _follow(self, member: Member, call: Any, seen: int) -> AsyncGenerator[Batch]:
        yield Batch(seen)
        while True:
            response = await self._whole(member, call)
            for batch in self._wire.batches(response, seen):
                seen = batch.revision
                yield batch
            if not response.events and response.header.revision >= max(seen, 1):
                seen = response.header.revision
                yield Batch(seen)
            self._seen.note(seen)

    async def _whole(self, member: Member, call: Any) -> Any:
        """Read one response, put together if etcd split it: a revision is never halved."""
        response = await self._next(member, call)
        while response.fragment:
            rest = await self._next(member, call)
            response.events.extend(rest.events)
            response.fragment = rest.fragment
        return response

    async def _next(self, member: Member, call: Any) -> Any:
        try:
            response = await cancellable(call.read())
            self._check(member, response)
        except grpc.aio.AioRpcError as error:
            raise self._failure(member, error, write=False) from None
        except _NoTokenError as error:  # the next watch logs in again, or learns that it may not
            raise UnavailableError(str(error)) from None
        except asyncio.CancelledError:
            if self._closed_under_us():
                raise UnavailableError("etcd client closed") from None
            raise
        return response

    def _check(self, member: Member, response: Any) -> None:
        """A response may be created and cancelled at once; after compaction its revision is 0."""
        if response is grpc.aio.EOF:
            self._leave(member)
            raise UnavailableError(f"etcd at {member.url}: ended the watch")
        if not response.canceled:
            return
        if response.compact_revision:
            raise CompactedError(response.compact_revision)
        why = response.cancel_reason
        if "permission denied" in why or wants_token(why):
            raise _NoTokenError(f"etcd at {member.url}: {why}")
        self._leave(member)
        raise UnavailableError(f"etcd at {member.url}: cancelled the watch ({why})")

    # -- calls -----------------------------------------------------------------------------

    async def _read(self, method: Callable[[Member], Any], request: Any) -> Any:
        async def once(member: Member, timeout: float) -> Any:
            return await self._ask(member, method(member), request, timeout)

        return await self._attempts(once, write=False)

    async def _write(self, method: Callable[[Member], Any], request: Any) -> Any:
        async def once(member: Member, timeout: float) -> Any:
            timeout = await self._prove(member, timeout)
            return await self._ask(member, method(member), request, timeout)

        return await self._attempts(once, write=True)

    async def _ask(self, member: Member, call: Any, request: Any, timeout: float) -> Any:
        """One linearizable call; its answer is no older than any answer before it was sent."""
        floor = self._seen.floor
        response = await cancellable(call(request, timeout=timeout, metadata=self._metadata))
        self._seen.judge(response.header.cluster_id, response.header.revision, floor)
        member.proven = True
        return response

    async def _prove(self, member: Member, timeout: float) -> float:
        """Read before anything that a foreign etcd must not get; answers the seconds left.

        Raises what a read raises: then nothing was sent.
        """
        if member.proven:
            return timeout
        now = asyncio.get_running_loop().time
        end = now() + timeout
        try:
            await self._read_anything(member, timeout)
        except grpc.aio.AioRpcError as error:
            raise self._failure(member, error, write=False) from None
        return max(end - now(), 0.0)

    async def _read_anything(self, member: Member, timeout: float) -> None:
        """A role that may not read here may ask for nothing; that the member answers alone."""
        request = pb.RangeRequest(key=self._wire.key("/"), keys_only=True)
        try:
            await self._ask(member, member.range, request, timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                raise
            await self._ask(member, member.txn, pb.TxnRequest(), timeout)

    async def _attempts(
        self, once: Callable[[Member, float], Awaitable[Any]], *, write: bool
    ) -> Any:
        """Run ``once`` on member after member within one deadline, while repeating is safe."""
        now = asyncio.get_running_loop().time
        timeout, end = self._options.deadline, now() + self._options.deadline
        others, logins = len(self._members) - 1, int(self._options.username is not None)
        while True:
            used = self._metadata
            failure = await self._try(once, timeout, write=write)
            if not isinstance(failure, OnairError):
                return failure
            timeout = end - now()
            if isinstance(failure, _NoTokenError) and logins and timeout > 0:
                logins -= 1
                await self._log_in(used, timeout)
            elif isinstance(failure, UnavailableError) and others and timeout > 0:
                others -= 1
            else:
                raise failure

    async def _try(
        self, once: Callable[[Member, float], Awaitable[Any]], timeout: float, *, write: bool
    ) -> Any:
        """Answer or failure; a failure that may be another member's luck is returned too."""
        if self._closed:
            raise UnavailableError("etcd client closed")
        member = self._member
        try:
            return await once(member, timeout)
        except grpc.aio.AioRpcError as error:
            return self._failure(member, error, write=write)
        except (_NoTokenError, UnavailableError) as failure:
            if isinstance(failure, ForeignError):
                self._leave(member)
            return failure
        except asyncio.CancelledError:
            if self._closed_under_us():
                kind = AmbiguousError if write else UnavailableError
                raise kind("etcd client closed") from None
            raise

    def _failure(self, member: Member, error: grpc.aio.AioRpcError, *, write: bool) -> OnairError:
        code, details = error.code().name, error.details() or ""
        if wants_token(details):
            return _NoTokenError(f"etcd at {member.url}: {details}")
        failure = translate(code, details, endpoint=member.url, write=write)
        if isinstance(failure, UnavailableError | AmbiguousError):
            self._leave(member)
        return failure

    def _leave(self, member: Member) -> None:
        """Go on to the next member, once however many calls failed on this one."""
        member.proven = False
        if member is self._member:
            self._member = next(self._turns)

    def _closed_under_us(self) -> bool:
        """grpc cancels the callers of a channel that is closed; to them that is a failure."""
        task = asyncio.current_task()
        return self._closed and not (task and task.cancelling())

    async def _log_in(self, used: tuple[tuple[str, str], ...], timeout: float) -> None:
        """Get a token, unless another call has got one since ``used`` was current."""
        options, member = self._options, self._member
        async with self._login:
            if self._metadata is not used:
                return
            password = options.password.get_secret_value() if options.password else ""
            request = pb.AuthenticateRequest(name=options.username, password=password)
            try:
                answer = await cancellable(member.authenticate(request, timeout=timeout))
            except grpc.aio.AioRpcError as error:
                raise self._failure(member, error, write=False) from None
            self._metadata = (*HAS_LEADER, ("token", answer.token))

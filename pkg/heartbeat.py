"""A module's sign of life: its heartbeat key, on a lease it renews at a third of the TTL.

``held`` makes holding a lease a block of code: lose the lease and the block is cancelled. The
deadline counts from when the last accepted renewal was *sent*, on our own clock, so we let go no
later than the server does. ``Heart`` keeps a module registered over lost leases, and refuses a
second module of the same id. A lost lease stops no media: it only means that no new work comes.
"""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeVar

import anyio
import psutil
import structlog
from ulid import ULID

from pkg.errors import TerminalError, TransientError
from pkg.etcd.api import (
    KV,
    AccessError,
    ConflictError,
    CreatedIs,
    Etcd,
    LeaseIs,
    ModIs,
    Op,
    Put,
    commit,
)
from pkg.informer import UndecodableError, decode
from pkg.model import Endpoints, Gateway, Heartbeat
from pkg.outage import Outages

log = structlog.get_logger()

TTL_SECONDS = 10
CHECK_SECONDS = 2.0
RETRY_SECONDS = 0.5
REFUSED_SECONDS = 5.0  # between tries to register, while etcd takes no write of ours
WRITE_SECONDS = 60.0  # how often the key is really written, though nothing changed

# Whoever holds an id on a lease, and what the log says if his record cannot be read.
UNDECODABLE = {Heartbeat: "heartbeat.undecodable", Gateway: "gateway.undecodable"}
H = TypeVar("H", Heartbeat, Gateway)


@dataclass(frozen=True, slots=True)
class Wellness:
    """What a module says of itself: ``busy`` takes no new room and keeps what it has, the rooms
    of an ``unhealthy`` one should go elsewhere. Reasons are words without running numbers."""

    status: Literal["healthy", "busy", "unhealthy"]
    reason: str | None = None


WELL = Wellness("healthy")


def worst(*found: Wellness) -> Wellness:
    """The first of the worst.

    >>> worst(WELL, Wellness("busy", "no port"), Wellness("unhealthy", "no disk"), WELL).reason
    'no disk'
    """
    return max(found, key=lambda w: ("healthy", "busy", "unhealthy").index(w.status), default=WELL)


class LeaseLostError(TransientError):
    """The lease expired or could not be renewed in time."""


class DuplicateModuleError(TerminalError):
    """Another live process holds this module id."""


@asynccontextmanager
async def held(etcd: Etcd, *, ttl: int) -> AsyncGenerator[int]:
    """Hold a lease of ``ttl`` seconds for as long as the block runs; yields its id.

    The lease is not revoked at the end: a daemon that is restarted for an upgrade comes back
    within the TTL and nobody need know. Raises LeaseLostError when it was lost.
    """
    sent = anyio.current_time()
    lease = await etcd.grant(ttl)
    lost = False

    async def renew(body: anyio.CancelScope) -> None:
        nonlocal lost
        await _renew_until_lost(etcd, lease, ttl, sent)
        lost = True
        body.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew, tasks.cancel_scope)
            yield lease
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1:  # the block's own error, as if there were no group
            raise errors.exceptions[0] from None
        raise
    if lost:
        raise LeaseLostError("the lease ran out before etcd accepted a renewal")


async def _renew_until_lost(etcd: Etcd, lease: int, ttl: int, sent: float) -> None:
    """Return when the lease is gone, or ``ttl`` after the last accepted renewal was sent."""
    while True:
        with anyio.move_on_at(sent + ttl):
            await anyio.sleep_until(sent + ttl / 3)
            renewed = await _renew(etcd, lease)
            if renewed is not None:
                sent = renewed
                continue
        return


async def _renew(etcd: Etcd, lease: int) -> float | None:
    """Try until etcd answers; when the accepted try was sent, None if etcd knows no such lease."""
    outages = Outages("lease.renewal_failed", "lease.renewed")
    while True:
        sent = anyio.current_time()
        try:
            left = await etcd.keep_alive(lease)
        except (TransientError, AccessError) as error:
            outages.failed("", error=str(error))
            await anyio.sleep(RETRY_SECONDS)
        else:
            outages.over("")
            return sent if left > 0 else None


class Heart:
    """Keeps one heartbeat key alive and true.

    ``check()`` looks at the module's own part, ``describe(wellness)`` builds the record.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        describe: Callable[[Wellness], Heartbeat],
        check: Callable[[], Awaitable[Wellness]],
        *,
        ttl: int = TTL_SECONDS,
    ) -> None:
        self._etcd = etcd
        self._key = key
        self._describe = describe
        self._check = check
        self._ttl = ttl
        self._outages = Outages("heartbeat.lost", "heartbeat.recovered")
        self._written_at = 0.0
        self._refused_since: float | None = None
        self._stirred = anyio.Event()
        self.registered = anyio.Event()

    def stir(self) -> None:
        """Look at once instead of at the next beat: something happened."""
        self._stirred.set()

    async def run(self) -> NoReturn:
        """Register, renew, tell changes of health; for ever. Raises DuplicateModuleError.

        AccessError is raised before the first registration only: later it must not end what is on
        air, and somebody may mend it.
        """
        while True:
            try:
                async with held(self._etcd, ttl=self._ttl) as lease:
                    await self._beat(lease)
            except (TransientError, AccessError) as error:
                if isinstance(error, AccessError) and not self.registered.is_set():
                    raise
                self._outages.failed(self._key, key=self._key, error=str(error))
                refused = self._refused_since is not None or isinstance(error, AccessError)
                await anyio.sleep(REFUSED_SECONDS if refused else RETRY_SECONDS)

    async def _beat(self, lease: int) -> None:
        told = await self._check()
        await self._register(self._describe(told), lease)
        self._written()
        self.registered.set()
        self._outages.over(self._key, key=self._key)
        log.info("heartbeat.registered", key=self._key, status=told.status, reason=told.reason)
        while True:
            with anyio.move_on_after(CHECK_SECONDS):
                await self._stirred.wait()
            self._stirred = anyio.Event()
            told = await self._stand_by(told, lease)

    async def _stand_by(self, told: Wellness, lease: int) -> Wellness:
        """Tell a change of health, and see that the key is still ours; answers what was told.

        Raises LeaseLostError if it is not: deleted, taken over, or the lease is gone.
        """
        found = await self._check()
        due = found != told or self._is_write_due()
        news = [self._put(self._describe(found), lease)] if due else []
        try:
            await commit(self._etcd, [LeaseIs(self._key, lease)], news)
        except ConflictError:
            raise LeaseLostError(f"{self._key} is not ours any more") from None
        except (TransientError, AccessError) as error:
            self._not_written(error, due=due)
            return told
        if due:
            self._written()
        if found != told:
            log.info("health.changed", status=found.status, reason=found.reason)
        return found

    def _is_write_due(self) -> bool:
        long_ago = anyio.current_time() - self._written_at >= WRITE_SECONDS
        return long_ago or self._refused_since is not None

    def _written(self) -> None:
        self._written_at, self._refused_since = anyio.current_time(), None

    def _not_written(self, error: Exception, *, due: bool) -> None:
        """Raises LeaseLostError if writes have failed for longer than the TTL."""
        log.warning("heartbeat.unsure", key=self._key, error=str(error))
        now = anyio.current_time()
        if due and self._refused_since is None:
            self._refused_since = now
        if self._refused_since is not None and now - self._refused_since > self._ttl:
            raise LeaseLostError(f"etcd takes no write of ours: {error}")

    async def _register(self, mine: Heartbeat, lease: int) -> None:
        current = await self._etcd.get(self._key)
        if current is None:
            await commit(self._etcd, [CreatedIs(self._key, 0)], [self._put(mine, lease)])
            return
        holder = holder_of(current, Heartbeat)
        other = holder is not None and holder.instance_id != mine.instance_id
        if holder is not None and other and not is_gone(holder, mine.host):
            log.warning("heartbeat.held", key=self._key, holder=holder.host, pid=holder.pid)
            await outlive(self._etcd, self._key, holder, self._ttl)
            raise LeaseLostError("the id's former holder is gone; registering anew")
        guard = [ModIs(self._key, current.mod_revision)]
        await commit(self._etcd, guard, [self._put(mine, lease)])

    def _put(self, record: Heartbeat, lease: int) -> Op:
        return Put(self._key, record.encode(), lease)


def holder_of(kv: KV, kind: type[H]) -> H | None:
    """None if it cannot be read: none of us wrote that, and it is no reason to end one."""
    try:
        return decode(kv, kind)
    except UndecodableError as error:
        log.error(UNDECODABLE[kind], key=kv.key, error=str(error))
        return None


async def outlive(etcd: Etcd, key: str, holder: H, ttl: int) -> None:
    """Return once the holder's lease has run out. Raises DuplicateModuleError if it outlives one
    TTL: somebody renews it."""
    with anyio.move_on_after(ttl + 2):
        while True:
            found = await etcd.get(key)
            now = holder_of(found, type(holder)) if found else None
            if now is None or now.instance_id != holder.instance_id:
                return
            await anyio.sleep(RETRY_SECONDS)
    raise DuplicateModuleError(
        f"{key} is held by pid {holder.pid} on {holder.host} (started "
        f"{holder.started_at}), which still renews it: stop that one or choose another id"
    )


def is_gone(holder: Heartbeat, here: str) -> bool:
    """Is the holder proven dead: a process of this host whose pid is free or another's?"""
    if holder.host != here:
        return False
    try:
        started = psutil.Process(holder.pid).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - holder.pid_started) > 0.1


def describer(
    capacity: int, endpoints: Endpoints, started_at: str, version: str
) -> Callable[[Wellness], Heartbeat]:
    """How this process describes itself."""
    instance, me = str(ULID()), psutil.Process()

    def describe(wellness: Wellness) -> Heartbeat:
        return Heartbeat(
            status=wellness.status,
            host=socket.gethostname(),
            started_at=started_at,
            capacity=capacity,
            endpoints=endpoints,
            instance_id=instance,
            pid=me.pid,
            pid_started=me.create_time(),
            version=version,
            reason=wellness.reason,
        )

    return describe

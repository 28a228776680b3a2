"""A module's sign of life: its heartbeat key, on a lease it renews at a third of the TTL.

``held`` makes holding a lease a block of code: lose the lease and the block is cancelled. The
deadline counts from when the last accepted renewal was *sent*, on our own clock, so we let go no
later than the server does. ``Heart`` keeps a module registered over lost leases, and refuses a
second module of the same id. A lost lease stops no media: it only means that no new work comes.
"""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import psutil
import structlog
from ulid import ULID

from pkg.errors import TerminalError, TransientError
from pkg.etcd.api import ConflictError, CreatedIs, Etcd, LeaseIs, ModIs, Op, Put, commit
from pkg.informer import decode
from pkg.model import Endpoints, Heartbeat

log = structlog.get_logger()

TTL_SECONDS = 10
CHECK_SECONDS = 2.0
RETRY_SECONDS = 0.5


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
    while True:
        sent = anyio.current_time()
        try:
            return sent if await etcd.keep_alive(lease) > 0 else None
        except TransientError as error:
            log.warning("lease.renewal_failed", error=str(error))
        await anyio.sleep(RETRY_SECONDS)


class Heart:
    """Keeps one heartbeat key alive and true.

    ``describe(reason)`` builds the record, unhealthy with that reason if there is one;
    ``check()`` looks at the module's own part and answers the reason it is unhealthy, or None.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        describe: Callable[[str | None], Heartbeat],
        check: Callable[[], Awaitable[str | None]],
        *,
        ttl: int = TTL_SECONDS,
    ) -> None:
        self._etcd = etcd
        self._key = key
        self._describe = describe
        self._check = check
        self._ttl = ttl
        self.registered = anyio.Event()

    async def run(self) -> NoReturn:
        """Register, renew, tell changes of health; for ever. Raises DuplicateModuleError."""
        while True:
            try:
                async with held(self._etcd, ttl=self._ttl) as lease:
                    await self._beat(lease)
            except TransientError as error:
                log.warning("heartbeat.lost", key=self._key, error=str(error))
                await anyio.sleep(RETRY_SECONDS)

    async def _beat(self, lease: int) -> None:
        reason = await self._check()
        await self._register(self._describe(reason), lease)
        self.registered.set()
        log.info("heartbeat.registered", key=self._key, reason=reason)
        while True:
            await anyio.sleep(CHECK_SECONDS)
            reason = await self._stand_by(reason, lease)

    async def _stand_by(self, told: str | None, lease: int) -> str | None:
        """Tell a change of health, and see that the key is still ours; answers what was told.

        Raises LeaseLostError if it is not: deleted, taken over, or the lease is gone.
        """
        reason = await self._check()
        news = [self._put(self._describe(reason), lease)] if reason != told else []
        try:
            await commit(self._etcd, [LeaseIs(self._key, lease)], news)
        except ConflictError:
            raise LeaseLostError(f"{self._key} is not ours any more") from None
        except TransientError as error:
            log.warning("heartbeat.unsure", key=self._key, error=str(error))
            return told
        if news:
            log.info("health.changed", healthy=reason is None, reason=reason)
        return reason

    async def _register(self, mine: Heartbeat, lease: int) -> None:
        current = await self._etcd.get(self._key)
        if current is None:
            await commit(self._etcd, [CreatedIs(self._key, 0)], [self._put(mine, lease)])
            return
        holder = decode(current, Heartbeat)
        if holder.instance_id != mine.instance_id and not is_gone(holder, mine.host):
            await self._wait_for_holder(holder)
            raise LeaseLostError("the id's former holder is gone; registering anew")
        guard = [ModIs(self._key, current.mod_revision)]
        await commit(self._etcd, guard, [self._put(mine, lease)])

    async def _wait_for_holder(self, holder: Heartbeat) -> None:
        """Return once the holder's lease has run out; refuse if it outlives one TTL."""
        log.warning("heartbeat.held", key=self._key, holder=holder.host, pid=holder.pid)
        with anyio.move_on_after(self._ttl + 2):
            while True:
                current = await self._etcd.get(self._key)
                if current is None or decode(current, Heartbeat).instance_id != holder.instance_id:
                    return
                await anyio.sleep(RETRY_SECONDS)
        raise DuplicateModuleError(
            f"{self._key} is held by pid {holder.pid} on {holder.host} (started "
            f"{holder.started_at}), which still renews it: stop that one or choose another id"
        )

    def _put(self, record: Heartbeat, lease: int) -> Op:
        return Put(self._key, record.encode(), lease)


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
) -> Callable[[str | None], Heartbeat]:
    """How this process describes itself, given why it is unhealthy (None: it is not)."""
    instance, me = str(ULID()), psutil.Process()

    def describe(reason: str | None) -> Heartbeat:
        return Heartbeat(
            status="healthy" if reason is None else "unhealthy",
            host=socket.gethostname(),
            started_at=started_at,
            capacity=capacity,
            endpoints=endpoints,
            instance_id=instance,
            pid=me.pid,
            pid_started=me.create_time(),
            version=version,
            reason=reason,
        )

    return describe

"""The gateway's lease, and what stands on it: its registration, and a key for each of its hosts.

A claim is taken in the handshake; from then on its key is made to match it, by connection, as
any controller does: written when the host changes, put again after the lease was lost, deleted
when the connection is over. While etcd is away nothing is concluded: connections stay.
"""

import random

import anyio
import psutil
import structlog

from pkg import controller, keys
from pkg.errors import TransientError
from pkg.etcd.api import (
    KV,
    AccessError,
    AmbiguousError,
    ConflictError,
    CreatedIs,
    Etcd,
    LeaseIs,
    ModIs,
    Put,
    UnavailableError,
    commit,
)
from pkg.events.api import SILENT, Events
from pkg.events.records import HostJoined, HostLeft
from pkg.heartbeat import (
    CHECK_SECONDS,
    REFUSED_SECONDS,
    RETRY_SECONDS,
    TTL_SECONDS,
    LeaseLostError,
    held,
    holder_of,
    outlive,
)
from pkg.model import Gateway, HostStatus
from pkg.outage import Outages
from pkg.workqueue import WorkQueue
from wsgateway import lock
from wsgateway.lock import Claim

log = structlog.get_logger()

WORKERS = 16
RETRY_CAP_SECONDS = 2.0
UNSURE_SECONDS = 8.0  # longer than etcd lets a request wait, and so a write that nobody saw end
RESIGN_SECONDS = 1.0
NOTE_SECONDS = 0.1  # from what we heard to its key


class Presence:
    def __init__(
        self,
        etcd: Etcd,
        gateway_id: str,
        me: Gateway,
        rng: random.Random,
        events: Events = SILENT,
        *,
        ttl: int = TTL_SECONDS,
    ) -> None:
        self._events = events
        self._etcd = etcd
        self._id = gateway_id
        self._key = keys.gateway(gateway_id)
        self._me = me
        self._ttl = ttl
        self._lease: int | None = None
        self._resigned = False
        self._claims: dict[str, Claim] = {}  # by connection
        self._holders: dict[str, Claim] = {}  # by key: who took it last
        self._freed: dict[str, anyio.Event] = {}
        self._queue: WorkQueue[str] = WorkQueue(rng, cap=RETRY_CAP_SECONDS)
        self._outages = Outages("gateway.lease_lost", "gateway.lease_recovered")
        self.registered = anyio.Event()

    @property
    def holds_lease(self) -> bool:
        return self._lease is not None

    def hosts(self) -> list[HostStatus]:
        """How far each of ours has come."""
        return [c.host.status for c in self._claims.values() if c.taken and not c.over]

    # -- claims ----------------------------------------------------------------------------

    async def take(self, claim: Claim, *, takeover: bool) -> bool:
        """False if the user is connected elsewhere, and not to be taken over.

        Raises TransientError or AccessError when it cannot be known: then, as when it is
        cancelled, the claim is freed by itself.
        """
        if self._lease is None:
            raise UnavailableError("the gateway has no lease: etcd is away")
        self._claims[claim.host.connection] = claim
        try:
            await lock.take(
                self._etcd, claim, self._lease, lambda kv: takeover or self._is_stale(kv)
            )
        except (AmbiguousError, anyio.get_cancelled_exc_class()):
            claim.unsure = True
            self.free(claim)
            raise
        finally:
            if not claim.taken and not claim.unsure:
                self._forget(claim)
        if claim.taken:
            self._succeed(claim)
        return claim.taken

    def _is_stale(self, kv: KV) -> bool:
        """Of this very gateway, and of no connection that it has: left by an earlier process of
        its id. Or on no lease, as no gateway writes."""
        host = lock.host_of(kv)
        if host is None or host.gateway_id != self._id:
            return kv.lease == 0
        holder = self._claims.get(host.connection)
        return holder is None or holder.over

    def _succeed(self, claim: Claim) -> None:
        """Tell a former holder that is ours sooner than the watch would.

        Answers may overtake each other: whose write is the later one has the key.
        """
        former = self._holders.get(claim.key)
        if former is not None and former.revision > claim.revision:
            claim.lost()
        else:
            self._holders[claim.key] = claim
            if former is not None and not former.over:
                former.lost()
        if claim.over or claim.lease != self._lease:  # given up, or etcd lost, meanwhile
            self._queue.add(claim.host.connection)

    def note(self, claim: Claim, status: HostStatus, display: str | None, *, muted: bool) -> None:
        """Have it written; of several soon after each other only the last is.

        Who joins is busy, and live a moment later: that can wait. For a mute its caller waits.
        """
        is_urgent = muted != claim.host.muted
        update = {"status": status, "display": display, "muted": muted}
        claim.host = claim.host.model_copy(update=update)
        if status is not HostStatus.CONNECTED and not (claim.joined or claim.over):
            claim.joined = True
            host = claim.host
            self._events.tell(HostJoined(room_id=host.room_id, user_id=host.user_id))
        self._queue.add_after(claim.host.connection, 0.0 if is_urgent else NOTE_SECONDS)

    def doubt(self, claim: Claim) -> None:
        """Our copy of etcd shows something else there: look."""
        claim.doubted = True
        self._queue.add(claim.host.connection)

    def free(self, claim: Claim) -> None:
        """The connection is over: delete its key, until that has worked."""
        if claim.joined and not claim.over:
            host = claim.host
            self._events.tell(HostLeft(room_id=host.room_id, user_id=host.user_id))
        claim.over = True
        self._queue.add(claim.host.connection)

    async def freed(self, claim: Claim) -> None:
        """``free``, and wait until it is done; not while etcd is away."""
        self.free(claim)
        if self._lease is not None and claim.host.connection in self._claims:
            await self._freed.setdefault(claim.host.connection, anyio.Event()).wait()

    # -- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Raises DuplicateModuleError; AccessError before the first registration only."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_lease)
            await controller.run(self._queue, self._reconcile, workers=WORKERS)

    async def resign(self) -> None:
        """This gateway ends: everything it holds goes at once. What fails, the lease ends."""
        lease, self._lease, self._resigned = self._lease, None, True
        if lease is None:
            return
        with anyio.move_on_after(RESIGN_SECONDS):
            try:
                await self._etcd.revoke(lease)
            except (TransientError, AccessError) as error:
                log.warning("gateway.resign_failed", error=str(error))
        for claim in list(self._claims.values()):
            self._forget(claim)

    async def _keep_lease(self) -> None:
        while not self._resigned:
            try:
                async with held(self._etcd, ttl=self._ttl) as lease:
                    await self._live(lease)
            except (TransientError, AccessError) as error:
                if isinstance(error, AccessError) and not self.registered.is_set():
                    raise
                self._outages.failed("", error=str(error))
                denied = isinstance(error, AccessError)
                await anyio.sleep(REFUSED_SECONDS if denied else RETRY_SECONDS)

    async def _live(self, lease: int) -> None:
        """Raises LeaseLostError once the registration is not ours any more."""
        await self._register(lease)
        self._outages.over("")
        log.info("gateway.registered", key=self._key, hosts=len(self._claims))
        try:
            self._lease = lease
            self.registered.set()
            for connection in self._claims:
                self._queue.add(connection)
            while not self._resigned:
                await anyio.sleep(CHECK_SECONDS)
                await self._check(lease)
        finally:
            self._lease = None

    async def _check(self, lease: int) -> None:
        try:
            await commit(self._etcd, [LeaseIs(self._key, lease)], [])
        except ConflictError:
            raise LeaseLostError(f"{self._key} is not ours any more") from None
        except (TransientError, AccessError) as error:
            log.debug("gateway.unsure", error=str(error))

    async def _reconcile(self, connection: str) -> float | None:
        claim = self._claims.get(connection)
        if claim is None or self._lease is None:
            return None  # the next lease enqueues them all
        try:
            if claim.over:
                return await self._let_go(claim)
            return await self._keep(claim, self._lease)
        except AccessError as error:
            log.warning("host.key_refused", key=claim.key, error=str(error))
            return REFUSED_SECONDS

    async def _keep(self, claim: Claim, lease: int) -> float | None:
        if not claim.taken or (claim.is_written and claim.lease == lease):
            return None
        if not await lock.write(self._etcd, claim, lease):
            log.info("host.taken_over", key=claim.key)
            claim.lost()
        elif not claim.is_written:  # it changed meanwhile
            return 0.0
        return None

    async def _let_go(self, claim: Claim) -> float | None:
        """A write that nobody saw end is looked for once more when it must have ended; one that is
        under way is waited for (``_succeed``): it may arrive after what would undo it."""
        if not claim.taken and not claim.unsure:
            return None
        await lock.free(self._etcd, claim)
        if claim.unsure:
            claim.unsure = False
            return UNSURE_SECONDS
        self._forget(claim)
        return None

    def _forget(self, claim: Claim) -> None:
        self._claims.pop(claim.host.connection, None)
        if self._holders.get(claim.key) is claim:
            del self._holders[claim.key]
        waiting = self._freed.pop(claim.host.connection, None)
        if waiting is not None:
            waiting.set()

    # -- registration ----------------------------------------------------------------------

    async def _register(self, lease: int) -> None:
        found = await self._etcd.get(self._key)
        holder = holder_of(found, Gateway) if found is not None else None
        if holder is not None and holder.instance_id != self._me.instance_id:
            if not is_gone(holder, self._me):
                log.warning("gateway.held", key=self._key, holder=holder.host, pid=holder.pid)
                await outlive(self._etcd, self._key, holder, self._ttl)
            found = await self._etcd.get(self._key)
        guard = CreatedIs(self._key, 0) if found is None else ModIs(self._key, found.mod_revision)
        await commit(self._etcd, [guard], [Put(self._key, self._me.encode(), lease)])


def is_gone(holder: Gateway, me: Gateway) -> bool:
    """Is the holder proven dead: a process of this host whose pid is free, or is ours by now?

    A pid that yet another process has is not noticed: then its lease decides.
    """
    if holder.host != me.host:
        return False
    return holder.pid == me.pid or not psutil.pid_exists(holder.pid)

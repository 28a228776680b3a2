"""One process does a task for all: the holder of a leased key ``/onair/leader/{task}``.

``Election.run(body)`` campaigns for ever and runs ``body`` while it leads. The body is cancelled
no later than the lease ends (``heartbeat.held``), so no two bodies run at once while clocks run
evenly. A process that was frozen for longer may still finish a step it was in: leading saves
work, it proves nothing. Whoever writes compares what he decided on, and ``Term.guard`` besides.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import anyio
import structlog

from pkg import keys
from pkg.errors import TransientError
from pkg.etcd.api import (
    AccessError,
    AmbiguousError,
    CompactedError,
    Compare,
    ConflictError,
    CreatedIs,
    Delete,
    Etcd,
    LeaseIs,
    ModIs,
    Put,
    commit,
)
from pkg.heartbeat import REFUSED_SECONDS, RETRY_SECONDS, TTL_SECONDS, held
from pkg.model import Leader
from pkg.outage import Outages

log = structlog.get_logger()

RECHECK_SECONDS = 60.0  # etcd 3.4 may lose a watch's event after a partition (facts.md)
RESIGN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Term:
    """One time of leading. ``guard`` fails once it is over, whatever our own clock says."""

    key: str
    lease: int

    @property
    def guard(self) -> Compare:
        return LeaseIs(self.key, self.lease)


Body: TypeAlias = Callable[[Term], Awaitable[None]]


class Election:
    def __init__(self, etcd: Etcd, task: str, me: Leader, *, ttl: int = TTL_SECONDS) -> None:
        self._etcd = etcd
        self._task = task
        self._key = keys.leader(task)
        self._me = me
        self._ttl = ttl
        self._outages = Outages("leader.campaign_failed", "leader.campaign_recovered")

    async def run(self, body: Body) -> NoReturn:
        """``body`` runs until it is cancelled, and begins anew with each term.

        What it raises passes through, in a group: it must deal with its own transient errors.
        """
        while True:
            try:
                await self._until(self._vacant)
                async with held(self._etcd, ttl=self._ttl) as lease:
                    won = await self._win(lease)
                    self._outages.over(self._task, task=self._task)
                    if won:
                        await self._lead(body, Term(self._key, lease))
            except (TransientError, AccessError) as error:
                self._outages.failed(self._task, task=self._task, error=str(error))
                await anyio.sleep(_pause(error))

    async def _vacant(self) -> bool:
        """Does nobody lead? A key that would stand for ever was put by no candidate."""
        found = await self._etcd.get(self._key)
        if found is not None and found.lease == 0:
            log.error("leader.squatted", task=self._task)
            await commit(self._etcd, [ModIs(self._key, found.mod_revision)], [Delete(self._key)])
            return True
        if found is not None:
            self._outages.over(self._task, task=self._task)
        return found is None

    async def _holds(self, term: Term) -> bool:
        found = await self._etcd.get(term.key)
        return found is not None and found.lease == term.lease

    async def _until(self, fact: Callable[[], Awaitable[bool]]) -> None:
        """Look now, at each change of the key, and once in a while."""
        while True:
            with anyio.move_on_after(RECHECK_SECONDS), suppress(CompactedError):
                async with self._etcd.watch(self._key, since=None) as batches:
                    await anext(batches)
                    if await fact():
                        return
                    async for batch in batches:
                        if batch.changes and await fact():
                            return

    async def _win(self, lease: int) -> bool:
        try:
            await commit(
                self._etcd, [CreatedIs(self._key, 0)], [Put(self._key, self._me.encode(), lease)]
            )
        except ConflictError:
            return False
        except AmbiguousError:
            return await self._holds(Term(self._key, lease))
        return True

    async def _lead(self, body: Body, term: Term) -> None:
        """Return when the term is over though the lease is not: somebody deleted the key."""
        log.info("leader.elected", task=self._task)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._depose, term, tasks.cancel_scope)
                await body(term)
                tasks.cancel_scope.cancel()
        finally:
            log.info("leader.ended", task=self._task)
            await self._resign(term)

    async def _depose(self, term: Term, leading: anyio.CancelScope) -> None:
        """Cancel ``leading`` once the key is not ours. While etcd is away, the lease decides."""

        async def deposed() -> bool:
            return not await self._holds(term)

        while True:
            try:
                await self._until(deposed)
            except (TransientError, AccessError) as error:
                log.info("leader.unsure", task=self._task, error=str(error))
                await anyio.sleep(_pause(error))
            else:
                log.warning("leader.deposed", task=self._task)
                leading.cancel()
                return

    async def _resign(self, term: Term) -> None:
        """Let the next one begin at once. If that fails, the lease ends it."""
        with (
            anyio.move_on_after(RESIGN_SECONDS, shield=True),
            suppress(TransientError, AccessError),
        ):
            await commit(self._etcd, [term.guard], [Delete(term.key)])


def _pause(error: Exception) -> float:
    """A right that etcd refuses us, somebody may grant later: no reason to end the daemon."""
    return REFUSED_SECONDS if isinstance(error, AccessError) else RETRY_SECONDS

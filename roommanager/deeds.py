"""Tells what a transaction did once that is known: by its answer, or, if that was lost, without.

Such a transaction puts a *call*, an id of its own, into something that it writes. When its answer
is lost, etcd's history says whether it was carried out, whatever has been written over it since:
the call stands there, or never will. Those who repeat a deed do so under another call.

An event's time is when its transaction was sent: what others do because they saw it is later, by
the same clock, however late the answer comes.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import anyio
import structlog

from pkg import controller
from pkg.etcd.api import AmbiguousError, Batch, CompactedError, Etcd
from pkg.events.api import Events
from pkg.events.records import Event
from pkg.workqueue import WorkQueue
from roommanager.view import EVERYTHING, View

log = structlog.get_logger()

# Longer than etcd may still carry out what it answers no more (7 s), and than a watch may be dead
# before that is noticed (15 s).
LATE_SECONDS = 20.0
MOST = 10_000  # doubts at once; over that the oldest go
CAP_SECONDS = 5.0
DOUBTS = "doubts"  # the one key of the queue


class Telling(Protocol):
    def telling(self, event: Event, call: str = "") -> AbstractContextManager[str]:
        """Within it the transaction is sent, which puts down the call that it yields."""
        ...

    def landed(self, call: str) -> None:
        """Somebody has seen this call in etcd, whosever it is."""
        ...


class Untold:
    """Nothing is told, so nothing need be known."""

    def telling(self, event: Event, call: str = "") -> AbstractContextManager[str]:  # noqa: ARG002
        return nullcontext(call)

    def landed(self, call: str) -> None:
        pass


UNTOLD = Untold()


@dataclass(frozen=True, slots=True)
class Doubt:
    """``at``: when it was sent; no revision before ``since`` can be the transaction's."""

    event: Event
    at: str
    since: int


class Deeds:
    def __init__(
        self,
        etcd: Etcd,
        view: View,
        events: Events,
        call: Callable[[], str],
        now: Callable[[], str],
        rng: random.Random,
    ) -> None:
        self._etcd = etcd
        self._view = view
        self._events = events
        self._call = call
        self._now = now
        self._doubts: dict[str, Doubt] = {}
        self._queue: WorkQueue[str] = WorkQueue(rng, cap=CAP_SECONDS)

    @contextmanager
    def telling(self, event: Event, call: str = "") -> Iterator[str]:
        call, at, since = call or self._call(), self._now(), self._view.revision + 1
        try:
            yield call
        except AmbiguousError:
            self._doubt(call, Doubt(event, at, since))
            raise
        self._events.tell(event, at)

    def landed(self, call: str) -> None:
        doubt = self._doubts.pop(call, None)
        if doubt is not None:
            self._events.tell(doubt.event, doubt.at)

    async def run(self) -> None:
        await controller.run(self._queue, self._settle, workers=1)

    def _doubt(self, call: str, doubt: Doubt) -> None:
        log.info("deed.doubtful", room=doubt.event.room_id, event_type=doubt.event.type)
        self._doubts[call] = doubt
        if len(self._doubts) > MOST:
            self._give_up(next(iter(self._doubts)), "too many are in doubt")
        self._queue.add(DOUBTS)

    def _give_up(self, call: str, why: str) -> None:
        event = self._doubts.pop(call).event
        log.error("deed.untold", room=event.room_id, event_type=event.type, why=why)

    async def _settle(self, _key: str) -> None:
        """All doubts there are; later ones have put the key into the queue again."""
        asked = dict(self._doubts)
        try:
            with anyio.move_on_after(LATE_SECONDS):
                await self._read(asked)
        except CompactedError:
            for call in asked.keys() & self._doubts.keys():
                self._give_up(call, "etcd's history of that time is gone")
        for call in asked.keys() & self._doubts.keys():
            event = self._doubts.pop(call).event
            log.info("deed.undone", room=event.room_id, event_type=event.type)

    async def _read(self, asked: dict[str, Doubt]) -> None:
        """What etcd did since the first of them, until all are found. Raises as ``Etcd.watch``."""
        since = min((doubt.since for doubt in asked.values()), default=0)
        if asked:
            async with self._etcd.watch(EVERYTHING, since=since) as batches:
                async for batch in batches:
                    self._look(batch)
                    if asked.keys().isdisjoint(self._doubts):
                        return

    def _look(self, batch: Batch) -> None:
        """Calls are long and random: where one stands as a text, it is meant."""
        values = [kv.value for _, kv in batch.changes if kv is not None]
        for call in [c for c in self._doubts if any(c.encode() in value for value in values)]:
            self.landed(call)

"""Tells the rooms' streams what happened: remembers, writes down, sends, each in its own time.

``tell`` only adds to a list in memory. One task writes that list to the spool, in a thread; others
send it to the stream server, a room's events one after the other. Neither waits for the other: a
full disk costs what a crash would lose, a stream server that is away costs nothing until the
spool is full. Killed, a process loses what was neither sent nor written: the last milliseconds.
"""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
import structlog

from pkg import backoff, controller
from pkg.events.backlog import Backlog, Pending, Segment
from pkg.events.records import Event, EventsDropped, line
from pkg.events.server import (
    Delivered,
    Fenced,
    Gap,
    Refused,
    ServerAwayError,
    Stamp,
    StreamServer,
)
from pkg.events.spool import Spool
from pkg.model import RoomId
from pkg.outage import Outages
from pkg.workqueue import WorkQueue

log = structlog.get_logger()

WORKERS = 8
SPOOL_BYTES = 16 * 1024**2
SYNC_SECONDS = 1.0
RETRY_SECONDS = 1.0  # of a stream that went back
CAP_SECONDS = 5.0
GOODBYE_SECONDS = 1.0
SPOOL = "spool"  # the one key of the writers' queue


@dataclass(frozen=True, slots=True)
class Identity:
    """``by``: which daemon, as events show it; ``segment`` makes ids and numbers of segments."""

    by: str
    now: Callable[[], str]
    segment: Callable[[], Segment]


class Teller:
    """``spool`` is this teller's alone; ``bound`` in bytes, of memory and of disk each."""

    def __init__(
        self,
        server: StreamServer,
        spool: Spool,
        me: Identity,
        rng: random.Random,
        bound: int = SPOOL_BYTES,
    ) -> None:
        self._server = server
        self._spool = spool
        self._me = me
        self._rng = rng
        self._queue: WorkQueue[str] = WorkQueue(rng, cap=CAP_SECONDS)
        self._backlog = Backlog(bound, me.segment, self._gap, spool.load())
        self._again_at = 0.0  # the server is away: nobody asks before
        self._failures = 0
        self._away = Outages("streams.away", "streams.back")
        self._unwritten = Outages("spool.unwritten", "spool.written")
        self._dropped: Counter[RoomId] = Counter()
        self._disk: WorkQueue[str] = WorkQueue(rng)
        self._unsynced_since: float | None = None
        self._empty = anyio.Event()

    @property
    def left(self) -> int:
        """Events that are still to be sent."""
        return self._backlog.left

    def tell(self, event: Event, at: str | None = None) -> None:
        text = line(event, at or self._me.now(), self._me.by)
        lost = self._backlog.add(event.room_id, text)
        if lost:
            self._dropped += lost
            log.error(
                "events.dropped", count=lost.total(), rooms=len(lost), ever=self._dropped.total()
            )
        self._disk.add(SPOOL)
        for room_id in (event.room_id, *lost):
            self._queue.add(room_id)

    def _gap(self, room_id: RoomId, count: int) -> bytes:
        return line(EventsDropped(room_id=room_id, count=count), self._me.now(), self._me.by)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """At its end what is left is written down, and for a moment still sent."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(controller.run, self._disk, self._keep, workers=1))
                tasks.start_soon(self._send_for_ever)
                yield
                await self._say_goodbye()
                tasks.cancel_scope.cancel()
        finally:
            await self._close()

    async def _say_goodbye(self) -> None:
        with anyio.move_on_after(GOODBYE_SECONDS):
            while self._backlog.left and not self._failures:
                self._empty = anyio.Event()
                await self._empty.wait()

    # -- sending -----------------------------------------------------------------------------

    async def _send_for_ever(self) -> None:
        for room_id in self._backlog.rooms():
            self._queue.add(room_id)
        await controller.run(self._queue, self._send, workers=WORKERS)

    async def _send(self, key: str) -> float | None:
        """All that is to be sent of one room. Answers when to try again: seconds."""
        pending = self._backlog.next(RoomId(key))
        while pending is not None:
            pause = self._again_at - anyio.current_time()
            if pause > 0:
                return pause
            try:
                wait = await self._send_one(pending)
            except ServerAwayError as error:
                return self._pause(error)
            self._resume()
            if wait > 0:
                return wait
            pending = self._backlog.next(RoomId(key))
        return None

    async def _send_one(self, pending: Pending) -> float:
        """Answers how long to wait before the next. Raises ServerAwayError."""
        stamp = Stamp(pending.segment.producer, pending.epoch, pending.seq)
        outcome = await self._server.append(pending.room_id, pending.line, stamp)
        fields = {"room": pending.room_id, "producer": stamp.producer, "seq": stamp.seq}
        match outcome:
            case Delivered():
                self._done(pending)
                return 0.0
            case Refused(why):
                log.error("events.refused", **fields, why=why)
                self._done(pending)
                return 0.0
            case Gap(expected):
                log.warning("events.resent", **fields, expected=expected)
                self._backlog.go_back(pending, expected)
            case Fenced(epoch):
                log.error("events.fenced", **fields, epoch=epoch)
                self._backlog.outbid(pending, epoch)
                self._disk.add(SPOOL)
        return RETRY_SECONDS

    def _done(self, pending: Pending) -> None:
        self._backlog.done(pending)
        if self._backlog.gone:
            self._disk.add(SPOOL)
        if not self._backlog.left:
            self._empty.set()

    def _pause(self, error: ServerAwayError) -> float:
        """The server's trouble is every room's: one wait for all."""
        self._away.failed("", error=str(error), left=self._backlog.left)
        now = anyio.current_time()
        if self._again_at <= now:
            self._again_at = now + backoff.delay(self._failures, self._rng, cap=CAP_SECONDS)
            self._failures += 1
        return self._again_at - now

    def _resume(self) -> None:
        if self._failures:
            self._away.over("", left=self._backlog.left)
            self._failures, self._again_at = 0, 0.0
            for room_id in self._backlog.rooms():
                self._queue.add(room_id)

    # -- writing down ------------------------------------------------------------------------

    async def _keep(self, _key: str) -> float | None:
        """Answers when to look again: seconds; None if all of it is safe."""
        whole = await self._write()
        now = anyio.current_time()
        if self._unsynced_since is not None and now >= self._unsynced_since + SYNC_SECONDS:
            await self._on_disk(self._spool.sync)
            self._unsynced_since = None
        return None if whole and self._unsynced_since is None else SYNC_SECONDS

    async def _write(self) -> bool:
        """What is new in the segments, and away with those that were sent."""
        whole = True
        for segment in list(self._backlog.gone):
            if await self._on_disk(partial(self._spool.remove, segment)):
                self._backlog.gone.remove(segment)
            else:
                whole = False
        for segment in list(self._backlog.segments):
            lines = segment.lines[segment.written :]
            if not lines:
                continue
            if await self._on_disk(partial(self._spool.write, segment, lines)):
                segment.written += len(lines)
                self._unsynced_since = self._unsynced_since or anyio.current_time()
            else:
                whole = False
        return whole

    async def _on_disk(self, act: Callable[[], None]) -> bool:
        """In a thread, for disks can be slow. A disk that is full or broken is said, and tried
        again each second: what is in memory is sent all the same."""
        try:
            await anyio.to_thread.run_sync(act)
        except OSError as error:
            self._unwritten.failed("", error=error.strerror)
            return False
        self._unwritten.over("")
        return True

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            self._backlog.finish()
            await self._write()
            self._spool.close()

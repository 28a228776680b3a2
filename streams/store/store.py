"""The store as the app sees it: verbs that return once what they did is durable.

Each decision is made and applied in one step of the loop, without an await between, so no two
requests ever see half of one another. A refusal, too, waits for what it was decided on.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog

from streams.protocol import media
from streams.protocol.producers import Place
from streams.protocol.refusal import Refusal, gone, not_found
from streams.protocol.requests import Append, Create, ForkPoint
from streams.store import decide, reading, recovery
from streams.store.clock import Clock
from streams.store.decide import Decision
from streams.store.files import Files
from streams.store.recovery import Opened
from streams.store.state import State, Stream
from streams.wal.committer import Commit, Committer, Told, nobody, telling
from streams.wal.records import Appended, Created, Noted, Record

log = structlog.get_logger()

SWEPT_AT_ONCE = 500

R = TypeVar("R", Create, Append)


@dataclass(frozen=True, slots=True)
class Done:
    """What a write came to. ``new``: this request did it, not an earlier one."""

    stream: Stream
    new: bool
    tail: int
    closed: bool
    place: Place | None = None


@dataclass(slots=True)
class Counts:
    """For the metrics."""

    appends: int = 0
    appended_bytes: int = 0
    created: int = 0
    deleted: int = 0
    expired: int = 0


class Store:
    """``open_store`` makes one."""

    def __init__(self, opened: Opened, clock: Clock, committer: Committer) -> None:
        self._clock = clock
        self._committer = committer
        self._opened = opened
        self.files: Files = opened.files
        self.state: State = opened.state
        self.store_id = opened.meta.store_id
        self.counts = Counts()
        self.heard: Callable[[Stream], None] = lambda _: None

    @property
    def broken(self) -> str | None:
        """Why nothing can be stored any more."""
        return self._committer.broken

    @property
    def unsettled(self) -> int:
        """Commits under way."""
        return self._committer.unsettled

    @property
    def batches(self) -> int:
        return self._committer.batches

    async def create(self, request: Create) -> Done:
        """§5.1, §4.2. Raises Refusal, BrokenError."""
        asked = await _read_ahead(request)
        base = await self._fork_base(asked)

        def decided() -> Decision:
            return decide.create(self.state, asked, base)

        return await self._write(decided, (request.name,))

    async def append(self, request: Append) -> Done:
        """§5.2. Raises Refusal, BrokenError."""
        asked = await _read_ahead(request)

        def decided() -> Decision:
            return decide.append(decide.find(self.state, asked.name), asked)

        return await self._write(decided, (request.name,))

    def append_now(self, request: Append, told: Told) -> Done | None:
        """``append`` without waiting: ``told`` hears when it is durable, or why it is not.

        None if there is nothing to log; then ``told`` hears nothing, and ``append`` is to be asked.
        Raises Refusal, BrokenError: nothing was done.
        """

        def decided() -> Decision:
            return decide.append(decide.find(self.state, request.name), request)

        done = self._begin(decided, (request.name,), told)
        return done if done.new else None

    async def delete(self, name: str) -> None:
        """§5.4. Raises Refusal, BrokenError."""

        def decided() -> Decision:
            stream = decide.find(self.state, name)
            return Decision(decide.delete(stream), stream)

        await self._write(decided, (name,))
        self.counts.deleted += 1

    async def _write(self, decided: Callable[[], Decision], names: Sequence[str]) -> Done:
        """Decide, apply and log in one step; then wait."""
        durable = self._committer.future()
        try:
            done = self._begin(decided, names, telling(durable))
        except Refusal:
            await self._committer.barrier()
            raise
        await (durable if done.new else self._committer.barrier())
        return done

    def _begin(self, decided: Callable[[], Decision], names: Sequence[str], told: Told) -> Done:
        """The step itself. ``told`` is called only if there is something new to log."""
        self._committer.check()
        self._expire(names)
        decision = decided()
        if decision.new:
            self._submit(decision.records, decision.big, told)
        done = self._done(decision)
        self.touch(done.stream)
        return done

    def _done(self, decision: Decision) -> Done:
        stream = decision.stream or self.state.by_id[decision.records[0].sid]
        return Done(stream, decision.new, stream.tail, stream.closed, decision.place)

    def _submit(
        self,
        records: Sequence[Record],
        big: Sequence[tuple[Appended, bytes]] = (),
        told: Told = nobody,
    ) -> None:
        """Log records and apply them to the state as written. Raises BrokenError."""
        streams: list[Stream] = []

        def settle(settled: Sequence[Record]) -> None:
            for stream, record in zip(streams, settled, strict=True):
                self.state.settle(stream, record)
                self._count(record)
                self.heard(stream)

        self._committer.submit(Commit(records, told, settle, big))
        for record in records:
            before = self.state.by_id.get(record.sid)
            self.state.apply(record)
            streams.append(before or self.state.by_id[record.sid])

    def note(self, notes: Sequence[Noted]) -> None:
        """Keep something beside the streams; durable after ``settled``. Raises BrokenError."""
        self._committer.submit(Commit(notes, nobody, lambda _: None))
        for one in notes:
            self.state.apply(one)

    async def settled(self) -> None:
        """Wait until all that was written before is durable. Raises BrokenError."""
        await self._committer.barrier()

    def _count(self, record: Record) -> None:
        match record:
            case Appended():
                self.counts.appends += 1
                self.counts.appended_bytes += record.length
            case Created():
                self.counts.created += 1
            case _:
                pass

    async def _fork_base(self, request: Create) -> int | None:
        """Where a fork leaves its source. Looks again if the source changed while it was read."""
        fork = request.fork
        if fork is None:
            return None
        while True:
            self._expire((request.name, fork.source))
            if request.name in self.state.names:
                return None  # nothing is forked; the request is compared with what there is
            source = await self._settled_refusal(lambda: decide.source_of(self.state, request))
            if source is None:
                return None
            base = await self._base(source, fork)
            if self.state.names.get(fork.source) is source and not source.hidden:
                return base

    async def _settled_refusal(self, look: Callable[[], Stream | None]) -> Stream | None:
        try:
            return look()
        except Refusal:
            await self._committer.barrier()
            raise

    async def _base(self, source: Stream, fork: ForkPoint) -> int:
        """Raises Refusal 400. Only what is durable can be inherited."""
        tail = source.durable.tail
        anchor = tail if fork.offset is None else fork.offset
        if anchor > tail:
            raise Refusal(400, "Stream-Fork-Offset lies past the tail")
        if not await reading.is_boundary(self.files, source, anchor):
            raise Refusal(400, "Stream-Fork-Offset lies inside a message")
        base: int | None = anchor + fork.sub_offset
        if media.is_json(source.made.content_type):
            base = await reading.after_messages(self.files, source, anchor, fork.sub_offset)
        if base is None or base > tail:
            raise Refusal(400, "Stream-Fork-Sub-Offset lies past the tail")
        return base

    def look(self, name: str) -> Stream:
        """A stream as readers may see it. Raises Refusal 404, 410. Does not renew its TTL."""
        stream = self.state.visible.get(name)
        if stream is None:
            raise not_found()
        if stream.durable.gone:
            raise gone()
        if self._clock.expired(stream):
            self._expire((name,))
            raise not_found()
        return stream

    def touch(self, stream: Stream) -> None:
        """A read or write: the TTL begins anew (§5.1)."""
        stream.touched = self._clock.now()

    def wall(self) -> float:
        return self._clock.wall()

    def _expire(self, names: Sequence[str]) -> None:
        for name in names:
            stream = self.state.names.get(name)
            if stream is None or stream.hidden or not self._clock.expired(stream):
                continue
            if self._committer.broken is None:
                self._submit(decide.delete(stream))
                self.counts.expired += 1

    async def sweep(self) -> None:
        """Remove what expired and nobody asked for; lets others run in between."""
        mortal = [stream.made.name for stream in self.state.mortal.values()]
        for at in range(0, len(mortal), SWEPT_AT_ONCE):
            self._expire(mortal[at : at + SWEPT_AT_ONCE])
            await anyio.lowlevel.checkpoint()

    async def checkpoint(self) -> None:
        """Fold finished parts of the log into the checkpoint; does nothing if there are none."""
        opened, sealed = self._opened, self._committer.sealed
        while sealed:
            await anyio.to_thread.run_sync(
                recovery.checkpoint, opened.layout, opened.meta, opened.files, sealed[0]
            )
            sealed.popleft()

    def break_off(self, why: str) -> None:
        """The disk failed elsewhere: nothing may be acknowledged from now on."""
        self._committer.broken = self._committer.broken or why

    def rotate(self) -> None:
        """Let the next commit begin a new part of the log."""
        self._committer.rotate()


async def _read_ahead(request: R) -> R:
    """Large JSON is read in a thread, so that nobody else waits for it."""
    if len(request.body) <= decide.BIG_BODY or not media.is_json(request.content_type or ""):
        return request
    return replace(request, ready=await anyio.to_thread.run_sync(decide.ready, request.body))


@asynccontextmanager
async def open_store(root: Path, clock: Clock | None = None) -> AsyncGenerator[Store]:
    """Recover the folder and serve it. Raises ConfigError, DamagedError, OSError."""
    opened = await anyio.to_thread.run_sync(recovery.recover, root)
    clock = clock or Clock()
    for stream in opened.state.by_id.values():
        stream.touched = clock.now()  # how long the server was away does not count
    committer = Committer(opened.layout.wal, opened.files, opened.next_lsn)
    try:
        yield Store(opened, clock, committer)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(committer.end)
        opened.meta.close()
        opened.lock.close()

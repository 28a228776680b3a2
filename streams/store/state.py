"""All streams in memory, and how each record of the log changes them.

``State`` is what has been *written*: decisions are made on it, one after the other. Readers see
what is *durable*: ``Stream.durable`` and ``State.visible``, which follow when a commit is through
(``settle``). Both are changed here only, by the same code while serving and at start.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import anyio

from streams.protocol.lifetime import Lifetime, moment
from streams.protocol.producers import Claim, Place
from streams.wal.records import Appended, Created, Deleted, Hidden, Noted, Record


@dataclass(frozen=True, slots=True)
class Seen:
    """What readers may know of a stream. ``gone``: nothing more will come, for no good reason."""

    tail: int
    closed: bool = False
    gone: bool = False


@dataclass(slots=True)
class Stream:
    """One stream. ``tail``, ``closed`` and what follows are as written, ``durable`` as synced.

    ``changed`` is replaced before it is set: who takes it and then looks at ``durable``, without
    a task switch in between, misses nothing. ``watchers`` are called once, at the next change.
    """

    made: Created
    parent: "Stream | None"
    tail: int
    durable: Seen
    closed: bool = False
    hidden: bool = False
    seq: str | None = None
    closed_by: Claim | None = None
    places: dict[str, Place] = field(default_factory=dict)
    forks: int = 0
    touched: float = 0.0
    ends_at: float | None = None
    readers: int = 0
    changed: anyio.Event | None = None
    watchers: dict[Callable[[], None], None] = field(default_factory=dict)
    events: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @property
    def sid(self) -> int:
        return self.made.sid

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.made.ttl, self.made.expires_at)

    def lineage(self) -> "Iterator[tuple[Stream, int]]":
        """The stream and its ancestors, each with the position its part ends at (exclusive)."""
        stream, end = self, self.durable.tail
        yield stream, end
        while stream.parent is not None:
            stream, end = stream.parent, min(end, stream.made.base)
            yield stream, end

    def change(self) -> anyio.Event:
        """Set at the next change of ``durable``."""
        if self.changed is None:
            self.changed = anyio.Event()
        return self.changed

    def show(self, seen: Seen) -> None:
        self.durable = seen
        self.events.clear()
        if self.changed is not None:
            self.changed.set()
            self.changed = None
        if self.watchers:
            watchers, self.watchers = self.watchers, {}
            for watcher in watchers:
                watcher()


class State:
    """``names`` and ``by_id`` as written, ``visible`` as durable; the hidden keep their names.

    ``mortal`` are those that may expire.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, Stream] = {}
        self.names: dict[str, Stream] = {}
        self.visible: dict[str, Stream] = {}
        self.mortal: dict[int, Stream] = {}
        self.next_sid = 1
        self.notes: dict[str, str] = {}

    def apply(self, record: Record) -> None:
        """Raises KeyError if the record's stream does not exist: the log is wrong."""
        match record:
            case Created():
                self._create(record)
            case Appended():
                self._append(record)
            case Hidden():
                self.by_id[record.sid].hidden = True
            case Deleted():
                self._delete(record.sid)
            case Noted():
                self._note(record)

    def _create(self, record: Created) -> None:
        parent = self.by_id[record.parent] if record.parent is not None else None
        stream = Stream(record, parent, record.base, Seen(record.base))
        if parent is not None:
            parent.forks += 1
        stream.ends_at = moment(record.expires_at)
        self.by_id[record.sid] = self.names[record.name] = stream
        if record.ttl is not None or stream.ends_at is not None:
            self.mortal[record.sid] = stream
        self.next_sid = max(self.next_sid, record.sid + 1)

    def _append(self, record: Appended) -> None:
        stream = self.by_id[record.sid]
        stream.tail = record.end
        if record.seq is not None:
            stream.seq = record.seq
        if record.claim is not None:
            stream.places[record.claim.producer_id] = Place(record.claim.epoch, record.claim.seq)
        if record.closes:
            stream.closed, stream.closed_by = True, record.claim

    def _delete(self, sid: int) -> None:
        stream = self.by_id.pop(sid)
        self.mortal.pop(sid, None)
        if self.names.get(stream.made.name) is stream:
            del self.names[stream.made.name]
        if stream.parent is not None:
            stream.parent.forks -= 1

    def _note(self, record: Noted) -> None:
        if record.value is None:
            self.notes.pop(record.key, None)
        else:
            self.notes[record.key] = record.value

    def settle(self, stream: Stream, record: Record) -> None:
        """Show readers what one durable record changed."""
        name = stream.made.name
        match record:
            case Created():
                self.visible[name] = stream
            case Appended():
                closed = stream.durable.closed or record.closes
                stream.show(Seen(record.end, closed))
            case Hidden():
                stream.show(replace(stream.durable, gone=True))
            case Noted():
                raise AssertionError("a note is about no stream")
            case Deleted():
                if self.visible.get(name) is stream:
                    del self.visible[name]
                stream.show(replace(stream.durable, gone=True))

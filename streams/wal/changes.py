"""What a run of records comes to: one change for each stream, however many records it had.

The committer keeps the changes of the segment it writes, so that folding a segment into the
checkpoint needs neither its 64 MiB again nor the interpreter for seconds (``Meta.fold``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.protocol.producers import Claim, Place
from streams.wal.records import Appended, Created, Deleted, Hidden, Noted, Record


@dataclass(slots=True)
class Change:
    """What is None has not changed."""

    made: Created | None = None
    tail: int | None = None
    closed: bool = False
    closed_by: Claim | None = None
    hidden: bool = False
    deleted: bool = False
    seq: str | None = None
    places: dict[str, Place] = field(default_factory=dict)

    def append(self, record: Appended) -> None:
        self.tail = record.end
        if record.seq is not None:
            self.seq = record.seq
        if record.claim is not None:
            self.places[record.claim.producer_id] = Place(record.claim.epoch, record.claim.seq)
        if record.closes:
            self.closed, self.closed_by = True, record.claim


@dataclass(slots=True)
class Changes:
    """By stream's number, and by note's key."""

    streams: dict[int, Change] = field(default_factory=dict)
    notes: dict[str, str | None] = field(default_factory=dict)

    def add(self, records: Iterable[Record]) -> None:
        """Records are added in the log's order."""
        for record in records:
            match record:
                case Appended():
                    self._of(record.sid).append(record)
                case Created():
                    self._of(record.sid).made = record
                case Hidden():
                    self._of(record.sid).hidden = True
                case Deleted():
                    self._of(record.sid).deleted = True
                case Noted():
                    self.notes[record.key] = record.value

    def _of(self, sid: int) -> Change:
        found = self.streams.get(sid)
        if found is None:
            found = self.streams[sid] = Change()
        return found

"""The checkpoint: what is known of every stream up to one frame of the log, in SQLite.

A checkpoint folds whole segments of the log into it, in one transaction, and then removes them.
Read at start; serving never asks it. All calls block.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from streams.protocol.producers import Claim, Place
from streams.store.state import State
from streams.wal.records import Appended, Created, Deleted, Hidden, Noted, Record

FILE = "meta.sqlite"
VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
    sid INTEGER PRIMARY KEY, made TEXT NOT NULL, tail INTEGER NOT NULL, closed INTEGER NOT NULL,
    hidden INTEGER NOT NULL, seq TEXT, closed_by TEXT);
CREATE TABLE IF NOT EXISTS places (
    sid INTEGER NOT NULL, producer TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (sid, producer)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO streams (sid, made, tail, closed, hidden) VALUES (?, ?, ?, 0, 0)"
_UPDATE = """UPDATE streams SET tail = coalesce(?, tail), closed = max(closed, ?),
    hidden = max(hidden, ?), seq = coalesce(?, seq), closed_by = coalesce(?, closed_by)
    WHERE sid = ?"""


class Meta:
    """Used by one thread at a time. Raises sqlite3.Error."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._put_new("version", VERSION)
        self._put_new("store", secrets.token_hex(4))

    def close(self) -> None:
        self._db.close()

    def _put_new(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))

    def _fact(self, name: str) -> object:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @property
    def version(self) -> int:
        return int(str(self._fact("version")))

    @property
    def store_id(self) -> str:
        """Random, made with the folder: no two folders give the same ETag."""
        return str(self._fact("store"))

    @property
    def lsn(self) -> int:
        """Frames up to this one are folded in."""
        return int(str(self._fact("lsn") or 0))

    @property
    def next_sid(self) -> int:
        return int(str(self._fact("next_sid") or 1))

    def load(self) -> State:
        """Parents before their forks: a fork's number is higher than its source's."""
        state = State()
        rows = self._db.execute("SELECT * FROM streams ORDER BY sid")
        for sid, made, tail, closed, hidden, seq, closed_by in rows:
            state.apply(Created(**json.loads(made)))
            stream = state.by_id[sid]
            stream.tail, stream.closed, stream.hidden = tail, bool(closed), bool(hidden)
            stream.seq = seq
            stream.closed_by = Claim(*json.loads(closed_by)) if closed_by else None
        for sid, producer, epoch, seq in self._db.execute("SELECT * FROM places"):
            state.by_id[sid].places[producer] = Place(epoch, seq)
        state.notes = dict(self._db.execute("SELECT key, value FROM notes"))
        state.next_sid = self.next_sid
        return state

    def fold(self, lsn: int, records: Iterable[Record]) -> None:
        """Add what the frames up to ``lsn`` say, or nothing at all."""
        changes = _changes(records)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sid, change in changes.streams.items():
                self._write(sid, change)
            self._write_notes(changes.notes)
            highest = max([self.next_sid, *(sid + 1 for sid in changes.streams)])
            facts = [("lsn", lsn), ("next_sid", highest)]
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _write(self, sid: int, change: "_Change") -> None:
        if change.deleted:
            self._db.execute("DELETE FROM places WHERE sid = ?", (sid,))
            self._db.execute("DELETE FROM streams WHERE sid = ?", (sid,))
            return
        if change.made is not None:
            row = (sid, json.dumps(asdict(change.made)), change.made.base)
            self._db.execute(_INSERT, row)
        self._db.execute(_UPDATE, (*change.values(), sid))
        places = [(sid, name, at.epoch, at.seq) for name, at in change.places.items()]
        self._db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", places)

    def _write_notes(self, notes: dict[str, str | None]) -> None:
        kept = [(key, value) for key, value in notes.items() if value is not None]
        over = [(key,) for key, value in notes.items() if value is None]
        self._db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM notes WHERE key = ?", over)

    def vacuum(self) -> None:
        self._db.execute("VACUUM")


@dataclass(slots=True)
class _Change:
    """What a run of records does to one stream."""

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
        self.seq = record.seq if record.seq is not None else self.seq
        if record.claim is not None:
            self.places[record.claim.producer_id] = Place(record.claim.epoch, record.claim.seq)
        if record.closes:
            self.closed, self.closed_by = True, record.claim

    def values(self) -> tuple[object, ...]:
        by = self.closed_by
        closed_by = json.dumps([by.producer_id, by.epoch, by.seq]) if by else None
        return self.tail, self.closed, self.hidden, self.seq, closed_by


@dataclass(slots=True)
class _Changes:
    streams: dict[int, _Change] = field(default_factory=dict)
    notes: dict[str, str | None] = field(default_factory=dict)


def _changes(records: Iterable[Record]) -> _Changes:
    changes = _Changes()
    for record in records:
        if isinstance(record, Noted):
            changes.notes[record.key] = record.value
            continue
        change = changes.streams.setdefault(record.sid, _Change())
        match record:
            case Created():
                change.made = record
            case Appended():
                change.append(record)
            case Hidden():
                change.hidden = True
            case Deleted():
                change.deleted = True
    return changes

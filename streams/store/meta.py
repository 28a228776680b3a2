"""The checkpoint: what is known of every stream up to one frame of the log, in SQLite.

A checkpoint folds whole segments of the log into it, in one transaction, and then removes them.
Read at start; serving never asks it. All calls block.
"""

import json
import secrets
import sqlite3
from dataclasses import asdict
from pathlib import Path

from streams.protocol.producers import Claim, Place
from streams.store.state import State
from streams.wal.changes import Change, Changes
from streams.wal.records import Created

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

    def fold(self, lsn: int, changes: Changes) -> None:
        """Add what the frames up to ``lsn`` change, or nothing at all."""
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

    def _write(self, sid: int, change: Change) -> None:
        if change.deleted:
            self._db.execute("DELETE FROM places WHERE sid = ?", (sid,))
            self._db.execute("DELETE FROM streams WHERE sid = ?", (sid,))
            return
        if change.made is not None:
            row = (sid, json.dumps(asdict(change.made)), change.made.base)
            self._db.execute(_INSERT, row)
        self._db.execute(_UPDATE, (*_values(change), sid))
        places = [(sid, name, at.epoch, at.seq) for name, at in change.places.items()]
        self._db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", places)

    def _write_notes(self, notes: dict[str, str | None]) -> None:
        kept = [(key, value) for key, value in notes.items() if value is not None]
        over = [(key,) for key, value in notes.items() if value is None]
        self._db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM notes WHERE key = ?", over)

    def vacuum(self) -> None:
        self._db.execute("VACUUM")


def _values(change: Change) -> tuple[object, ...]:
    by = change.closed_by
    closed_by = json.dumps([by.producer_id, by.epoch, by.seq]) if by else None
    return change.tail, change.closed, change.hidden, change.seq, closed_by

"""`streams check DIR` and `compact DIR`: what a folder holds, judged while nobody uses it.

``check`` changes nothing: it reads the checkpoint and the log as a start would, and says what
does not hold. Invariants are numbered as in docs/streams.md.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pkg.errors import ConfigError
from streams.protocol import jsonmode, media
from streams.protocol.refusal import Refusal
from streams.store import recovery
from streams.store.files import Files
from streams.store.meta import FILE
from streams.store.recovery import Layout
from streams.store.state import State, Stream
from streams.subscriptions import check as subscriptions
from streams.wal import segments
from streams.wal.frames import DamagedError
from streams.wal.records import Appended


@dataclass(frozen=True, slots=True)
class Report:
    facts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def lines(self) -> list[str]:
        faults = [f"FAULT {fault}" for fault in self.faults]
        return [*self.facts, *faults, "ok" if self.ok else f"{len(faults)} faults"]


def check(root: Path) -> Report:
    """Raises ConfigError if it is no data folder, or in use."""
    layout = Layout(root)
    if not (root / FILE).is_file():
        raise ConfigError(f"{root} is no data folder of a stream server: {FILE} is missing")
    held = recovery.lock(layout)
    report = Report()
    try:
        with recovery.in_words(layout):
            _examine(layout, report)
    except DamagedError as error:
        report.faults.append(str(error))
    finally:
        held.close()
    return report


def _examine(layout: Layout, report: Report) -> None:
    meta = recovery.open_meta(layout)
    try:
        state, files = meta.load(), Files(layout.data)
        folded = {stream.sid: stream.tail for stream in state.by_id.values()}
        torn, pending = 0, []
        for segment in segments.read_all(layout.wal, meta.lsn):
            records = recovery.new_records(segment, meta.lsn)
            pending += [_outline(one) for one in recovery.replay(state, records, None)]
            torn += segment.torn
    finally:
        meta.close()
    sizes = dict(files.present())
    report.faults.extend(_files(state, files, sizes, folded, pending))
    report.faults.extend(_forks(state))
    report.faults.extend(_messages(state, files, sizes))
    report.faults.extend(subscriptions.faults(state))
    report.facts.append(
        f"{len(state.by_id)} streams, {sum(s.hidden for s in state.by_id.values())} hidden, "
        f"{len(pending)} appends in the log, {torn} torn tails, "
        f"{len(sizes.keys() - state.by_id.keys())} orphaned files"
    )


def _outline(record: Appended) -> Appended:
    """Without the bytes, unless they stand in the file only."""
    return record if record.data is None else replace(record, data=b"")


def _files(
    state: State,
    files: Files,
    sizes: dict[int, int],
    folded: dict[int, int],
    pending: list[Appended],
) -> Iterator[str]:
    """S1: what the checkpoint tells of lies in the file; S2: big bodies are whole."""
    for sid, tail in folded.items():
        stream = state.by_id.get(sid)
        if stream is not None and tail > stream.made.base and sizes.get(sid, 0) < tail:
            yield f"S1 {stream.made.name}: its file is shorter than {tail} bytes"
    for one in pending:
        if one.data is not None or one.sid not in state.by_id:
            continue
        if sizes.get(one.sid, 0) < one.end or recovery.checksum(files, one) != one.crc:
            yield f"S2 {state.by_id[one.sid].made.name}: damage after byte {one.start}"


def _forks(state: State) -> Iterator[str]:
    """S3: references are counted right; S4: hidden streams have forks; S5: forks lie inside."""
    counted = Counter(s.made.parent for s in state.by_id.values() if s.made.parent is not None)
    for stream in state.by_id.values():
        name = stream.made.name
        if stream.forks != counted[stream.sid]:
            yield f"S3 {name}: {stream.forks} references, {counted[stream.sid]} forks"
        if stream.hidden and not stream.forks:
            yield f"S4 {name}: is kept for forks, and has none"
        if stream.parent is not None and stream.made.base > stream.parent.tail:
            yield f"S5 {name}: was forked past its source's tail"
        if stream.tail < stream.made.base:
            yield f"S5 {name}: ends before it begins"


def _messages(state: State, files: Files, sizes: dict[int, int]) -> Iterator[str]:
    """S6: what lies in the file of a JSON stream is JSON, a message a line."""
    for stream in state.by_id.values():
        stop = min(stream.tail, sizes.get(stream.sid, 0))
        if media.is_json(stream.made.content_type) and stop > stream.made.base:
            yield from _lines(files, stream, stop)


def _lines(files: Files, stream: Stream, stop: int) -> Iterator[str]:
    at, rest = stream.made.base, b""
    while at < stop:
        piece = files.read(stream.sid, at, min(1 << 20, stop - at))
        *lines, rest = (rest + piece).split(jsonmode.END)
        at += len(piece)
        for line in lines:
            try:
                jsonmode.messages(line)
            except Refusal as refusal:
                yield f"S6 {stream.made.name}: {refusal.detail}, before byte {at}"
    if rest and stop == stream.tail:
        yield f"S6 {stream.made.name}: the last message has no end"


def compact(root: Path) -> Report:
    """Fold the log, remove what no stream owns, shrink the checkpoint. Raises OnairError."""
    if not (root / FILE).is_file():
        raise ConfigError(f"{root} is no data folder of a stream server: {FILE} is missing")
    opened = recovery.recover(root)
    try:
        opened.meta.vacuum()
    finally:
        opened.meta.close()
        opened.lock.close()
    return Report(facts=[f"{len(opened.state.by_id)} streams; the log is folded"])

"""What was told and is to be sent, in memory: order, numbers, bounds. Pure; ``teller`` drives it.

Events stand in segments, oldest first, each of which is a producer of its own (its id is fresh),
with a number for each event of each room from 0 on. So what a number stands for never changes,
whatever dies: a segment is only added to by the process that began it, and one that is dropped
takes its numbers with it. A segment goes once all of it has been sent; until then it is kept
whole, so that a stream server that lost what came last (restored, emptied) gets it again.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pkg.model import RoomId

SEGMENT_BYTES = 1024**2  # a full segment
SPENT_BYTES = 64 * 1024  # one that was sent goes at this size: a restart sends it again
DROPPED = b'{"type":"events.dropped"'


@dataclass(slots=True, eq=False)
class Segment:
    """``born`` orders segments; ``lines``: all of it as it is to stand on disk, of which the
    first ``written`` do. ``left``: events not sent yet. ``epochs``: of rooms whose producer epoch
    was raised, with the number of the first event under it."""

    born: int
    producer: str
    events: dict[RoomId, list[bytes]] = field(default_factory=dict)
    sent: dict[RoomId, int] = field(default_factory=dict)
    epochs: dict[RoomId, tuple[int, int]] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    written: int = 0
    size: int = 0
    left: int = 0

    def add(self, room_id: RoomId, line: bytes) -> None:
        self.events.setdefault(room_id, []).append(line)
        self._stand(line)
        self.left += 1

    def raise_epoch(self, room_id: RoomId, epoch: int, base: int) -> None:
        self.epochs[room_id] = (epoch, base)
        self._stand(json.dumps({"roomId": room_id, "epoch": epoch, "base": base}).encode())

    def _stand(self, line: bytes) -> None:
        self.lines.append(line)
        self.size += len(line) + 1

    def unsent(self, room_id: RoomId) -> list[bytes]:
        return self.events.get(room_id, [])[self.sent.get(room_id, 0) :]


@dataclass(frozen=True, slots=True)
class Pending:
    """The event of a room that is to be sent next; ``number`` counts within its segment."""

    segment: Segment
    room_id: RoomId
    number: int
    line: bytes

    @property
    def epoch(self) -> int:
        return self.segment.epochs.get(self.room_id, (0, 0))[0]

    @property
    def seq(self) -> int:
        return self.number - self.segment.epochs.get(self.room_id, (0, 0))[1]


class Backlog:
    """``begin`` makes an empty segment; ``gap`` the line that stands for so many lost events.
    ``bound`` in bytes, over which the newest segment may go; ``left_over``: others' segments."""

    def __init__(
        self,
        bound: int,
        begin: Callable[[], Segment],
        gap: Callable[[RoomId, int], bytes],
        left_over: list[Segment],
    ) -> None:
        self._bound = bound
        self._begin = begin
        self._gap = gap
        self.segments = sorted(left_over, key=lambda s: (s.born, s.producer))
        self.gone: list[Segment] = []
        self._last_born = max((s.born for s in self.segments), default=0)
        self._current: Segment | None = None  # what others began is not added to

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def left(self) -> int:
        return sum(segment.left for segment in self.segments)

    def rooms(self) -> list[RoomId]:
        """Those of which something is to be sent."""
        found = {r: None for s in self.segments if s.left for r in s.events if s.unsent(r)}
        return list(found)

    def add(self, room_id: RoomId, line: bytes) -> Counter[RoomId]:
        """Answers how many events of which rooms had to go to make room."""
        if self._current is None or self._current.size >= min(SEGMENT_BYTES, self._bound // 8):
            self._current = self._begin()
            self._last_born = self._current.born = max(self._current.born, self._last_born + 1)
            self.segments.append(self._current)
        self._current.add(room_id, line)
        return self._drop() if self.size > self._bound else Counter()

    def next(self, room_id: RoomId) -> Pending | None:
        for segment in self.segments:
            number = segment.sent.get(room_id, 0)
            if number < len(segment.events.get(room_id, ())):
                return Pending(segment, room_id, number, segment.events[room_id][number])
        return None

    def done(self, pending: Pending) -> None:
        segment = pending.segment
        if segment.sent.get(pending.room_id, 0) == pending.number:
            segment.sent[pending.room_id] = pending.number + 1
            segment.left -= 1
        if segment.left == 0 and (segment is not self._current or segment.size >= SPENT_BYTES):
            self._retire(segment)

    def go_back(self, pending: Pending, seq: int) -> None:
        """The server wants ``seq`` next: it has lost what came after, which is here still."""
        segment, room_id = pending.segment, pending.room_id
        number = segment.epochs.get(room_id, (0, 0))[1] + seq
        segment.left += segment.sent.get(room_id, 0) - number
        segment.sent[room_id] = number

    def outbid(self, pending: Pending, epoch: int) -> None:
        """Somebody else writes as this producer, under ``epoch``: go on under a higher one."""
        pending.segment.raise_epoch(pending.room_id, epoch + 1, pending.number)

    def finish(self) -> None:
        """Nothing is added any more: what was sent need not be kept."""
        if self._current is not None and self._current.left == 0:
            self._retire(self._current)

    def _retire(self, segment: Segment) -> None:
        if segment in self.segments:
            self.segments.remove(segment)
            self.gone.append(segment)
        if segment is self._current:
            self._current = None

    def _drop(self) -> Counter[RoomId]:
        """The oldest segments go; a short one that says so takes their place, also in order."""
        lost: Counter[RoomId] = Counter()
        born = 0
        while self.size > self._bound - self._bound // 8 and len(self.segments) > 1:
            oldest = self.segments[0]
            for room_id in oldest.events:
                lost[room_id] += sum(map(_weight, oldest.unsent(room_id)))
            born = oldest.born
            self._retire(oldest)
        if lost.total():
            gap = self._begin()
            gap.born = born
            for room_id, count in (+lost).items():
                gap.add(room_id, self._gap(room_id, count))
            self.segments.insert(0, gap)
        return lost


def _weight(line: bytes) -> int:
    """How many events are lost with this one."""
    return int(json.loads(line)["count"]) if line.startswith(DROPPED) else 1

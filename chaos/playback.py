"""How hls.js plays: what it fetches next, when its buffer runs dry, and when it gives up. Pure.

Figures are the defaults of hls.js 1.5 and 1.6 (src/config.ts, src/utils/error-helper.ts).
"""

from collections.abc import Collection
from dataclasses import dataclass

from chaos.playlist import Entry, Served

SYNC_TARGETS = 3  # liveSyncDurationCount: it starts this many target durations behind the edge


@dataclass(frozen=True, slots=True)
class Retries:
    """``errorRetry`` of a load policy: seconds before each next try, and how many there are."""

    count: int
    delay: float = 1.0
    longest: float = 8.0

    def wait(self, failures: int) -> float:
        """Before the next try, after so many failures in a row.

        >>> [FRAGMENT_RETRIES.wait(n) for n in (1, 2, 3, 4, 5)]
        [1.0, 2.0, 4.0, 8.0, 8.0]
        """
        return float(min(self.longest, self.delay * 2 ** (failures - 1)))

    def is_fatal(self, failures: int, status: int | None) -> bool:
        """A 4xx is never tried again; ``status`` None is a connection that failed.

        >>> PLAYLIST_RETRIES.is_fatal(2, 503), PLAYLIST_RETRIES.is_fatal(3, 503)
        (False, True)
        >>> PLAYLIST_RETRIES.is_fatal(1, 404), PLAYLIST_RETRIES.is_fatal(2, None)
        (True, False)
        """
        return failures > self.count or (status is not None and 400 <= status < 500)


PLAYLIST_RETRIES = Retries(count=2)
FRAGMENT_RETRIES = Retries(count=6)


def reload_seconds(target: float, *, changed: bool) -> float:
    """From one load of a live playlist to the next (RFC 8216 §6.3.4)."""
    return target if changed else target / 2


def next_entry(served: Served, last: Entry | None, lost: Collection[int]) -> Entry | None:
    """What to fetch now; None: wait for a newer playlist. ``lost``: given up by number.

    After a jump to another epoch's numbers it goes on where it stood by PROGRAM-DATE-TIME: what
    both epochs hold is not heard twice.
    """
    if last is None:
        return _first(served, lost)
    newer = [e for e in served.entries if e.number > last.number and e.number not in lost]
    if last.end is None:
        return next(iter(newer), None)
    heard = last.end
    for entry in newer:
        if entry.run == last.run or entry.at is None or entry.at + entry.seconds / 2 >= heard:
            return entry
    return None


def _first(served: Served, lost: Collection[int]) -> Entry | None:
    behind = 0.0
    chosen: Entry | None = None
    for entry in reversed(served.entries):
        if entry.number not in lost:
            chosen, behind = entry, behind + entry.seconds
        if behind >= SYNC_TARGETS * served.target:
            break
    return chosen


class Buffer:
    """Plays in real time what was fetched; silent while it is empty. Times are monotonic."""

    def __init__(self) -> None:
        self._empty_at: float | None = None  # when what is buffered will have been played
        self._stalls: list[tuple[float, float]] = []

    @property
    def started(self) -> bool:
        return self._empty_at is not None

    def add(self, now: float, seconds: float) -> None:
        """A segment is there; a stalled player goes on at once."""
        if self._empty_at is None:
            self._empty_at = now
        elif now > self._empty_at:
            self._stalls.append((self._empty_at, now))
            self._empty_at = now
        self._empty_at += seconds

    def level(self, now: float) -> float:
        """Seconds that can still be played."""
        return 0.0 if self._empty_at is None else max(0.0, self._empty_at - now)

    def silence(self, now: float, since: float = 0.0) -> float:
        """Seconds of stalls after ``since``, one that lasts included.

        >>> buffer = Buffer()
        >>> buffer.add(100.0, 2.0); buffer.add(105.0, 2.0)
        >>> buffer.silence(106.0), buffer.silence(109.5), buffer.silence(109.5, since=104.0)
        (3.0, 5.5, 3.5)
        """
        stalls = list(self._stalls)
        if self._empty_at is not None and now > self._empty_at:
            stalls.append((self._empty_at, now))
        return sum(end - max(begin, since) for begin, end in stalls if end > since)

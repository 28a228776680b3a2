"""Which wall-clock time a room's served playlists held, by PROGRAM-DATE-TIME. Pure.

FFmpeg dates a run's first segment when it starts and adds durations from there, so that two runs
meet within a few hundredths of a second even where nothing is lost: see TOLERANCE_SECONDS.

>>> coverage = Coverage()
>>> for number, at in enumerate([10.0, 12.0, 18.5]):
...     coverage.add(Entry(number, f"s_1_{number}.ts", 2.0, at, 0, None))
>>> coverage.gaps()
[(14.0, 18.5)]
>>> coverage.missing(), coverage.missing(since=16.0), coverage.missing(since=19.0)
(4.5, 4.5, 0)
"""

from chaos.playlist import Entry

TOLERANCE_SECONDS = 0.15


class Coverage:
    def __init__(self) -> None:
        self._held: dict[str, tuple[float, float]] = {}  # segment's name → from, to

    def add(self, entry: Entry) -> None:
        if entry.at is not None and entry.end is not None:
            self._held[entry.name] = (entry.at, entry.end)

    @property
    def until(self) -> float:
        """The latest moment that was ever listed; 0 without any."""
        return max((to for _, to in self._held.values()), default=0.0)

    def gaps(self) -> list[tuple[float, float]]:
        """Times between the first and the last moment that no segment holds."""
        found: list[tuple[float, float]] = []
        reached: float | None = None
        for begin, end in sorted(self._held.values()):
            if reached is not None and begin - reached > TOLERANCE_SECONDS:
                found.append((reached, begin))
            reached = end if reached is None else max(reached, end)
        return found

    def missing(self, since: float = 0.0) -> float:
        """Seconds of such time that ended after ``since`` (seconds since 1970).

        What was lost before it counts too: an FFmpeg dies with its unfinished segment.
        """
        return sum(end - begin for begin, end in self.gaps() if end > since)

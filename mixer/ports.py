"""Which RTP port pair a room gets. FFmpeg binds the even port p and p + 1.

In use is what living processes hold (their markers say so); this class adds only what no list
can tell: pairs being handed out right now, and pairs to leave alone for a while, because a
stranger holds or feeds them. A used pair may still be fed by its old room's forwarder (another
room's sound!): it rests for some seconds, and whoever takes it again listens first.
"""

from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager

from mixer.api import NoPortError

QUARANTINE_SECONDS = 60.0
REST_SECONDS = 5.0


class Ports:
    """``bindable(p)`` tries both ports of a pair. ``now`` is the caller's monotonic clock."""

    def __init__(self, base: int, pairs: int, bindable: Callable[[int], bool]) -> None:
        """Raises ValueError unless every pair is an even port and its odd neighbour."""
        if base % 2 or base < 1024 or base + 2 * pairs > 65536:
            raise ValueError(f"{pairs} port pairs do not fit from {base}, or {base} is odd")
        self._all = tuple(range(base, base + 2 * pairs, 2))
        self._bindable = bindable
        self._reserved: set[int] = set()
        self._until: dict[int, float] = {}

    @contextmanager
    def reserved(self, in_use: Collection[int], now: float) -> Generator[int]:
        """A free pair, nobody else's while the block runs: spawn inside it. Raises NoPortError."""
        port = self._pick(in_use, now)
        self._reserved.add(port)
        try:
            yield port
        finally:
            self._reserved.discard(port)

    def rest(self, port: int, now: float) -> None:
        """Leave a pair alone for a moment: its process ended. (Its own room may have it back.)"""
        self._until[port] = now + REST_SECONDS

    def is_unused(self, port: int) -> bool:
        """Never handed back since we began: nobody can be sending there."""
        return port not in self._until

    def quarantine(self, ports: Iterable[int], now: float) -> None:
        """Leave pairs alone for a minute: a stranger has them, or somebody sends there."""
        self._until.update(dict.fromkeys(ports, now + QUARANTINE_SECONDS))

    def free(self, in_use: Collection[int], now: float) -> list[int]:
        """Pairs to try, best first: never used ones, then those left alone the longest."""
        open_pairs = [
            port
            for port in self._all
            if port not in in_use
            and port not in self._reserved
            and self._until.get(port, now) <= now
        ]
        return sorted(open_pairs, key=lambda port: (self._until.get(port, float("-inf")), port))

    def _pick(self, in_use: Collection[int], now: float) -> int:
        for port in self.free(in_use, now):
            if self._bindable(port):
                return port
            self.quarantine([port], now)
        raise NoPortError(f"none of {len(self._all)} RTP port pairs is free")

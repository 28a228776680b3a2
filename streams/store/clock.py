"""The two clocks of a store: lifetimes slide on ours, and end at a wall's (§5.1)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.store.state import Stream


def _now() -> float:
    """The loop's clock; also for what a task did not call (``anyio.current_time`` needs one)."""
    return asyncio.get_running_loop().time()


def _wall() -> float:
    return datetime.now(UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Clock:
    """``now`` in seconds from anywhere, never set back; ``wall`` in Unix seconds."""

    now: Callable[[], float] = _now
    wall: Callable[[], float] = _wall

    def remaining(self, stream: Stream) -> float | None:
        """Seconds until it expires, negative after that; None if it never does.

        A stream that somebody reads live is in use, and its TTL does not run (§5.1).
        """
        if stream.ends_at is not None:
            return stream.ends_at - self.wall()
        if stream.made.ttl is None:
            return None
        if stream.readers and stream.made.ttl:
            return float(stream.made.ttl)
        return stream.touched + stream.made.ttl - self.now()

    def expired(self, stream: Stream) -> bool:
        left = self.remaining(stream)
        return left is not None and left <= 0

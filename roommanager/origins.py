"""Fetch from the mixers' origins: a few at once from each, and never for long.

An origin that hangs holds its own few connections and nobody else's: rooms on healthy hosts notice
nothing of it. Who finds too many before him is sent away at once.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import httpx

from pkg.outage import Outages
from roommanager.sources import NotYetError, Source

AT_ONCE = 16  # from one origin; it answers within milliseconds, so that is a thousand a second
WAITING = 300  # for their turn at one origin
WHOLE_SECONDS = 4.0  # of a fetch, its wait included
TIMEOUT = httpx.Timeout(3.0, connect=1.0)
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=50)  # ``AT_ONCE`` bounds them


@dataclass(slots=True)
class _Queue:
    turn: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(AT_ONCE))
    members: int = 0


class Origins:
    """``client``: with ``TIMEOUT`` and ``LIMITS``."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._queues: dict[str, _Queue] = {}
        self._outages = Outages("origin.failed", "origin.recovered")

    async def get(self, source: Source, leaf: str) -> bytes | None:
        """The file's content, None if there is none. Raises NotYetError if nobody answers."""
        try:
            with self._queued(source.origin) as turn, anyio.fail_after(WHOLE_SECONDS):
                async with turn:
                    response = await self._client.get(f"{source.url}/{leaf}")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise self._away(source, type(error).__name__) from None
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._away(source, f"HTTP {response.status_code}")
        self._outages.over(source.origin, origin=source.origin)
        return response.content if response.is_success else None

    @contextmanager
    def _queued(self, origin: str) -> Generator[anyio.CapacityLimiter]:
        found = self._queues.setdefault(origin, _Queue())
        if found.members >= AT_ONCE + WAITING:
            raise NotYetError("the origin is slow, and too many wait for it")
        found.members += 1
        try:
            yield found.turn
        finally:
            found.members -= 1
            if found.members == 0:
                del self._queues[origin]

    def _away(self, source: Source, error: str) -> NotYetError:
        origin = source.origin
        self._outages.failed(origin, origin=origin, room=source.room_id, error=error)
        return NotYetError(f"the origin does not answer ({error})")

"""Encrypted segments: each fetched once from its mixer, then kept here, in bounded memory.

What a served playlist lists is fetched ahead of those who will ask for it, so that it can still
be had when the mixer's host is gone. Segments never change; the time on air (its nonce) is part
of what they are kept by, so that none outlives it.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from pkg.model import RoomId
from roommanager.ahead import Ahead, Wish
from roommanager.flights import Flights
from roommanager.origins import Origins
from roommanager.sources import NotOnAirError, Source

CACHE_BYTES = 128 * 1024 * 1024  # 20 KB for 2 s: what 200 rooms listed within a minute


class Segments:
    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._flights: Flights[bytes] = Flights()
        self._kept: OrderedDict[tuple[RoomId, str, str], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._ahead = Ahead(self.fetch)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._flights.running(), self._ahead.running():
            yield

    def kept(self, room_id: RoomId, nonce: str, name: str) -> bytes | None:
        return self._kept.get((room_id, nonce, name))

    async def fetch(self, source: Source, name: str) -> bytes:
        """Raises NotOnAirError if the origin has none, NotYetError if it does not answer."""
        found = self.kept(source.room_id, source.nonce, name)
        if found is not None:
            return found
        key = (source.room_id, source.nonce, name)
        return await self._flights.join(key, lambda: self._fetch(source, name)).outcome()

    def prefetch(self, wishes: Iterable[Wish]) -> None:
        """Those that are due, without waiting for them."""
        self._ahead.offer(wishes)

    async def _fetch(self, source: Source, name: str) -> bytes:
        body = await self._origins.get(source, name)
        if body is None:
            raise NotOnAirError("no such segment")
        self._keep((source.room_id, source.nonce, name), body)
        return body

    def _keep(self, key: tuple[RoomId, str, str], body: bytes) -> None:
        self._kept[key] = body
        self._kept_bytes += len(body)
        while self._kept_bytes > CACHE_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)

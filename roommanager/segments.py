"""Encrypted segments: each fetched once from its mixer, then kept here, in bounded memory.

What a served playlist lists is fetched ahead of those who will ask for it, so that it can still
be had when the mixer's host is gone. Segments never change; the time on air (its nonce) is part
of what they are kept by, so that none outlives it.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from pkg.errors import OnairError
from pkg.model import RoomId
from roommanager.flights import Flights
from roommanager.origins import Origins
from roommanager.sources import NotOnAirError, Source

log = structlog.get_logger()

CACHE_BYTES = 128 * 1024 * 1024  # 20 KB for 2 s: what 200 rooms listed within a minute
PREFETCHERS = 32  # a host that hangs holds some of them for ORIGIN_TIMEOUT, not all
PREFETCH_QUEUE = 2000
Wish = tuple[Source, str]


class Segments:
    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._flights: Flights[bytes] = Flights()
        self._kept: OrderedDict[tuple[RoomId, str, str], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._wishes: MemoryObjectSendStream[Wish] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        send, receive = anyio.create_memory_object_stream[Wish](PREFETCH_QUEUE)
        async with send, receive, self._flights.running(), anyio.create_task_group() as tasks:
            for _ in range(PREFETCHERS):
                tasks.start_soon(self._prefetch, receive)
            self._wishes = send
            yield
            self._wishes = None
            tasks.cancel_scope.cancel()

    def kept(self, room_id: RoomId, nonce: str, name: str) -> bytes | None:
        return self._kept.get((room_id, nonce, name))

    async def fetch(self, source: Source, name: str) -> bytes:
        """Raises NotOnAirError if the origin has none, NotYetError if it does not answer."""
        found = self.kept(source.room_id, source.nonce, name)
        if found is not None:
            return found
        key = (source.room_id, source.nonce, name)
        return await self._flights.join(key, lambda: self._fetch(source, name)).outcome()

    def prefetch(self, source: Source, names: Sequence[str]) -> None:
        """Soon, by and by, and not at all if too much is wished for already."""
        for name in names:
            if self._wishes is None or self.kept(source.room_id, source.nonce, name) is not None:
                continue
            try:
                self._wishes.send_nowait((source, name))
            except anyio.WouldBlock:
                log.warning("prefetch.dropped", room=source.room_id, segment=name)

    async def _prefetch(self, wishes: MemoryObjectReceiveStream[Wish]) -> None:
        async for source, name in wishes:
            with suppress(OnairError):  # whoever needs it will ask again, and be told
                await self.fetch(source, name)

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

"""TCP in front of a server: cut its connections, swallow, delay or replace its answers.

Or put another server in its place.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Late: TypeAlias = MemoryObjectSendStream[tuple[float, bytes]]
Due: TypeAlias = MemoryObjectReceiveStream[tuple[float, bytes]]

ENDS = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)


class Proxy:
    """``port``: where new connections go; ``deaf`` swallows answers; ``shut`` takes nobody in.

    ``delay``: seconds that each answer is held back, any number at a time; ``instead``: bytes that
    are sent in the place of each piece of an answer.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.deaf = self.shut = False
        self.delay = 0.0
        self.instead: bytes | None = None
        self.url = ""
        self._open: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Close every connection; new ones may be made at once."""
        for scope in self._open:
            scope.cancel()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 not Django
        self.url = f"http://127.0.0.1:{port}"
        task_status.started()
        async with listener:
            await listener.serve(self._relay)

    async def _relay(self, ours: anyio.abc.SocketStream) -> None:
        async with ours:
            if self.shut:
                return
            with suppress(OSError):
                async with await anyio.connect_tcp("127.0.0.1", self.port) as theirs:
                    await self._both_ways(ours, theirs)

    async def _both_ways(
        self, ours: anyio.abc.SocketStream, theirs: anyio.abc.SocketStream
    ) -> None:
        late, due = anyio.create_memory_object_stream[tuple[float, bytes]](math.inf)
        async with late, due, anyio.create_task_group() as tasks:
            self._open.add(tasks.cancel_scope)
            try:
                tasks.start_soon(self._ask, tasks.cancel_scope, ours, theirs)
                tasks.start_soon(self._listen, tasks.cancel_scope, theirs, late)
                await self._answer(tasks.cancel_scope, due, ours)
            finally:
                self._open.discard(tasks.cancel_scope)

    async def _ask(
        self, both: anyio.CancelScope, source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream
    ) -> None:
        with suppress(*ENDS):
            async for data in source:
                await sink.send(data)
        both.cancel()

    async def _listen(
        self, both: anyio.CancelScope, source: anyio.abc.SocketStream, late: Late
    ) -> None:
        """Answers, each with when it is due."""
        with suppress(*ENDS):
            async for data in source:
                if not self.deaf:
                    late.send_nowait((anyio.current_time() + self.delay, self.instead or data))
        both.cancel()

    async def _answer(
        self, both: anyio.CancelScope, due: Due, sink: anyio.abc.SocketStream
    ) -> None:
        with suppress(*ENDS):
            async for when, data in due:
                await anyio.sleep_until(when)
                await sink.send(data)
        both.cancel()


@asynccontextmanager
async def proxied(port: int) -> AsyncGenerator[Proxy]:
    proxy = Proxy(port)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()

"""TCP in front of a server: cut its connections, swallow its answers, put another in its place."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc


class Proxy:
    """``port``: where new connections go; ``deaf`` swallows answers; ``shut`` takes nobody in."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.deaf = self.shut = False
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
        async with anyio.create_task_group() as tasks:
            self._open.add(tasks.cancel_scope)
            try:
                tasks.start_soon(self._copy, tasks.cancel_scope, ours, theirs, False)
                await self._copy(tasks.cancel_scope, theirs, ours, True)
            finally:
                self._open.discard(tasks.cancel_scope)

    async def _copy(
        self,
        both: anyio.CancelScope,
        source: anyio.abc.SocketStream,
        sink: anyio.abc.SocketStream,
        answers: bool,
    ) -> None:
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream):
            while True:
                data = await source.receive()
                if not (answers and self.deaf):
                    await sink.send(data)
        both.cancel()


@asynccontextmanager
async def proxied(port: int) -> AsyncGenerator[Proxy]:
    proxy = Proxy(port)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()

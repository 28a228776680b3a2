"""A stream server inside the test, on a real socket and disk, whose commits can be held back."""

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from pkg.health import Readiness
from pkg.httpserver import GuardedProtocol, listen, serving
from pkg.lifecycle import background
from streams.app.access import Access
from streams.app.asgi import StreamsApp
from streams.app.live import Waiting
from streams.app.pages import pages
from streams.server.protocol import direct
from streams.server.routes import Hot
from streams.store.clock import Clock
from streams.store.files import Files
from streams.store.recovery import recover
from streams.store.store import Store
from streams.subscriptions.service import Service, open_service
from streams.wal.committer import Committer
from streams.wal.records import Appended

LONG_POLL_SECONDS = 20.0


class GatedFiles(Files):
    """While ``gate`` is shut, nothing becomes durable; ``failure`` is raised by one commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.failure: OSError | None = None

    def write_durably(self, big: Sequence[tuple[Appended, bytes]]) -> None:
        self.gate.wait()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        super().write_durably(big)


class SetClock:
    """Wall and own time in one, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000_000_000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, lambda: self.seconds)


@dataclass
class Server:
    http: httpx.AsyncClient
    store: Store
    files: GatedFiles
    time: SetClock
    waiting: Waiting
    workers: Service


@asynccontextmanager
async def server(
    root: Path,
    access: Access | None = None,
    long_poll: float = LONG_POLL_SECONDS,
    *,
    shortcut: bool = True,
) -> AsyncGenerator[Server]:
    """Everything of ``streams.__main__`` but signals and settings; without ``shortcut`` all goes
    through the app."""
    opened = await anyio.to_thread.run_sync(recover, root)
    files, time = GatedFiles(opened.layout.data), SetClock()
    opened = replace(opened, files=files)
    for stream in opened.state.by_id.values():
        stream.touched = time.seconds
    committer = Committer(opened.layout.wal, files, opened.next_lsn)
    store = Store(opened, time.clock(), committer)
    waiting, ready = Waiting(long_poll), Readiness()
    app = StreamsApp(store, waiting, access or Access(), pages(store, waiting, ready))
    route = Hot(store, waiting, access or Access(), app.bodies)
    bound = listen("127.0.0.1:0")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    workers = await open_service(root, store, url, loopback=True)
    front = workers.front(app, access or Access(), app.bodies)
    try:
        async with (
            serving(front, bound, protocol=direct(route) if shortcut else GuardedProtocol),
            httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http,
            background(workers.run),
        ):
            yield Server(http, store, files, time, waiting, workers)
            files.gate.set()
            waiting.drain()
    finally:
        files.gate.set()
        await anyio.to_thread.run_sync(committer.end)
        opened.meta.close()
        opened.lock.close()

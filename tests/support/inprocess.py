"""The room manager's whole HTTP side without sockets or processes: ASGI app on etcd in memory."""

import itertools
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import httpx
from pydantic import SecretBytes

from pkg.etcd.memory import MemoryEtcd
from pkg.events.server import StreamServer
from pkg.health import Readiness
from pkg.httpserver import BodyLimit
from pkg.schedule import Policy
from pkg.secrets import token_key
from pkg.tokens import Tokens
from roommanager import assets
from roommanager.allocator import Allocator
from roommanager.api import create_app
from roommanager.context import Context
from roommanager.feed import Feed
from roommanager.history import History
from roommanager.hls import Hls
from roommanager.http import Outermost, refuse
from roommanager.metrics import Metrics
from roommanager.pins import Hashing, Tries
from roommanager.view import View
from roommanager.vigil import Vigil
from roommanager.wishes import Sources, Wishes
from tests.support.virtual import FakeProber

API_KEY = "test-key"
MASTER = b"m" * 32
PAGES = assets.load()


def now() -> int:
    """Seconds since 1970, of the real clock: tokens are judged by it."""
    return int(datetime.now(UTC).timestamp())


@dataclass(frozen=True)
class InProcess:
    """``client`` sends the API key along; ``public`` does not."""

    etcd: MemoryEtcd
    context: Context
    client: httpx.AsyncClient
    public: httpx.AsyncClient


def context_on(etcd: MemoryEtcd, origin: httpx.AsyncClient) -> Context:
    numbers = itertools.count(1)
    sources = Sources(now=lambda: "2026-01-01T00:00:00.000Z", nonce=lambda: f"{next(numbers):032x}")
    view = View(etcd, random.Random(1))
    allocator = Allocator(Policy.LEAST_LOADED, random.Random(2))
    vigil = Vigil(view, FakeProber())
    return Context(
        etcd=etcd,
        view=view,
        vigil=vigil,
        wishes=Wishes(etcd, view, allocator, sources),
        history=History(StreamServer(origin, ""), ""),
        hls=Hls(view, origin),
        feed=Feed(view, vigil.verdict, "http://onair"),
        pages=PAGES,
        tokens=Tokens([token_key(MASTER)]),
        tries=Tries(),
        hashing=Hashing(),
        metrics=Metrics(view),
        readiness=Readiness("cache"),
        api_key=SecretBytes(API_KEY.encode()),
        master=SecretBytes(MASTER),
        public_url="http://onair",
        clock=now,
        room_id=lambda: f"ro_{next(numbers)}",
        salt=lambda: b"0" * 16,
    )


@asynccontextmanager
async def running(origin: httpx.AsyncBaseTransport | None = None) -> AsyncGenerator[InProcess]:
    """``origin`` answers what would be fetched from mixers; nobody by default."""
    etcd = MemoryEtcd()
    silent = origin or httpx.MockTransport(lambda _: httpx.Response(404))
    async with httpx.AsyncClient(transport=silent) as fetching, anyio.create_task_group() as tasks:
        context = context_on(etcd, fetching)
        tasks.start_soon(context.view.informer.run)
        await context.view.informer.synced.wait()
        app = Outermost(BodyLimit(create_app(context), refuse), context.metrics, lambda: "r")
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        keyed = {"Authorization": f"Bearer {API_KEY}"}
        async with (
            context.hls.running(),
            httpx.AsyncClient(
                transport=transport, base_url="http://onair", headers=keyed
            ) as client,
            httpx.AsyncClient(transport=transport, base_url="http://onair") as public,
        ):
            yield InProcess(etcd, context, client, public)
        tasks.cancel_scope.cancel()

"""Wiring of the room manager: `./onair room-manager`."""

import gc
import os
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import httpx
from pydantic import SecretBytes
from ulid import ULID

from pkg import wiring
from pkg.config import read_secret
from pkg.daemon import run_daemon
from pkg.election import Election
from pkg.etcd.api import Etcd
from pkg.events.api import SILENT
from pkg.events.server import StreamServer
from pkg.health import Readiness
from pkg.httpserver import BodyLimit, listen, serving
from pkg.lifecycle import Step, background, run_until_signal
from pkg.model import Kind, Leader, ModuleId
from pkg.tokens import Tokens
from roommanager import assets, origins
from roommanager.allocator import Allocator
from roommanager.api import create_app
from roommanager.chronicle import Chronicle
from roommanager.config import Config
from roommanager.context import Context
from roommanager.controller import RoomController
from roommanager.deeds import Deeds
from roommanager.feed import Feed
from roommanager.history import History
from roommanager.hls import Hls
from roommanager.housekeeping import Housekeeping
from roommanager.http import Outermost, refuse
from roommanager.mending import Displaced, Mender
from roommanager.metrics import Metrics
from roommanager.pins import Hashing, Tries
from roommanager.prober import DirectProber
from roommanager.verdict import Fitness
from roommanager.view import View
from roommanager.vigil import Vigil
from roommanager.wishes import Sources, Wishes

# The copy of etcd is many small objects that live long: at Python's own thresholds looking
# through them again and again took a tenth of each start (bench/README.md).
GC_THRESHOLDS = (50_000, 20, 100)
ASKED_ANEW = httpx.Limits(max_connections=None, max_keepalive_connections=0)
SOURCES = Sources(now=wiring.now, nonce=lambda: secrets.token_hex(16))


async def run(config: Config) -> None:
    bound = listen(config.room_manager_listen)
    async with (
        wiring.etcd_client(config) as etcd,
        wiring.events(config, f"room-manager/{config.name}") as events,
        httpx.AsyncClient(
            timeout=origins.TIMEOUT, limits=origins.LIMITS, trust_env=False
        ) as client,
        # Fetches that hang on one dead host must not make others look silent when they are asked.
        httpx.AsyncClient(limits=ASKED_ANEW, trust_env=False) as asking,
    ):
        rng = wiring.rng()
        view = View(etcd, rng)
        deeds = Deeds(etcd, view, events, SOURCES.nonce, SOURCES.now, rng)
        sources = SOURCES if events is SILENT else replace(SOURCES, deeds=deeds)
        allocator = Allocator(config.room_manager_policy, rng)
        vigil = Vigil(view, DirectProber(asking))
        controller = RoomController(etcd, view, vigil, allocator, sources, rng)
        chronicle = Chronicle(view, vigil.verdict, events)
        wishes = Wishes(etcd, view, allocator, sources)
        context = build(config, etcd, view, client, vigil, wishes)
        app = Outermost(
            BodyLimit(create_app(context), refuse), context.metrics, lambda: str(ULID())
        )

        @asynccontextmanager
        async def caches() -> AsyncGenerator[None]:
            async with background(view.informer.run):
                yield

        async def become_ready() -> None:
            await view.informer.synced.wait()
            context.readiness.clear("cache")
            await anyio.sleep_forever()

        def gone(kind: Kind, module_id: ModuleId) -> bool:
            return vigil.verdict(kind, module_id).fitness is Fitness.DEAD

        def displace(found: Displaced) -> None:
            controller.displace(found.room_id, found.kind, found.why)

        mender = Mender(etcd, view, gone, displace)
        keeping = Housekeeping(view, controller.queue, mender, vigil)
        me = Leader(instance_id=str(ULID()), host=socket.gethostname(), pid=os.getpid())

        async def sweep() -> None:
            await view.informer.synced.wait()
            await Election(etcd, "housekeeping", me).run(chronicle.beside(keeping.lead))

        await run_until_signal(
            [
                Step(
                    "http",
                    lambda: serving(app, bound, config.room_manager_trusted_proxies),
                    "probes that find nobody while we list",
                ),
                Step("live", context.feed.running, "a stop that waits for those who watch"),
                Step("hls", context.hls.running, "fetches from mixers that nobody carries out"),
                Step("caches", caches, "decisions on an empty copy"),
                Step("readiness", lambda: background(become_ready), "requests on an empty copy"),
                Step("deeds", lambda: background(deeds.run), "doubts that nobody settles"),
                Step("vigil", lambda: background(vigil.run), "rooms moved before anybody is asked"),
                Step("rooms", lambda: background(controller.run), "a sweep without workers"),
                Step("housekeeping", lambda: background(sweep), "leftovers nobody noticed"),
            ]
        )


def build(
    config: Config,
    etcd: Etcd,
    view: View,
    client: httpx.AsyncClient,
    vigil: Vigil,
    wishes: Wishes,
) -> Context:
    master = config.master_secret()
    return Context(
        etcd=etcd,
        view=view,
        vigil=vigil,
        wishes=wishes,
        history=History(
            StreamServer(client, config.events_url, config.events_key()),
            config.room_manager_events_public_url or config.events_url,
        ),
        hls=Hls(view, client),
        feed=Feed(view, vigil.verdict, config.public_url),
        pages=assets.load(),
        tokens=Tokens(config.token_keys()),
        tries=Tries(),
        hashing=Hashing(),
        metrics=Metrics(view),
        readiness=Readiness("cache"),
        api_key=read_secret(config.room_manager_api_key_file, "room_manager_api_key_file"),
        master=SecretBytes(master),
        public_url=config.public_url,
        clock=lambda: int(datetime.now(UTC).timestamp()),
        room_id=lambda: f"ro_{str(ULID()).lower()}",
        salt=lambda: secrets.token_bytes(16),
    )


def main() -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    run_daemon(run, Config.load_or_exit(), "room-manager")


if __name__ == "__main__":
    main()

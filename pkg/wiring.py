"""What every daemon's ``__main__`` does the same way: its etcd client, its clock, its events."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
from ulid import ULID

from pkg.config import Settings
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.seen import Seen
from pkg.events.api import SILENT, Events
from pkg.events.backlog import Segment
from pkg.events.server import StreamServer
from pkg.events.spool import Spool
from pkg.events.teller import Identity, Teller
from pkg.lifecycle import background

STREAMS_SECONDS = 10.0  # for one event


def rng() -> random.Random:
    """For jitter and placement, not for secrets; seeded by the system."""
    return random.Random()  # noqa: S311


def now() -> str:
    """RFC 3339, UTC, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def etcd_client(config: Settings) -> AsyncGenerator[EtcdClient]:
    """Raises ConfigError."""
    seen = Seen(config.etcd_seen_file)
    client = EtcdClient(
        EtcdOptions(
            endpoints=config.etcd_endpoints,
            namespace=config.etcd_prefix,
            ca_file=config.etcd_ca_file,
            cert_file=config.etcd_cert_file,
            key_file=config.etcd_key_file,
            username=config.etcd_username,
            password=config.etcd_password(),
        ),
        seen,
    )
    try:
        async with background(seen.keep):
            yield client
    finally:
        await client.aclose()
        seen.save()


@asynccontextmanager
async def events(config: Settings, by: str) -> AsyncGenerator[Events]:
    """How this daemon tells what happened; ``by`` is ``service/id``. Raises ConfigError."""
    if not config.events_url:
        yield SILENT
        return

    def segment() -> Segment:
        return Segment(int(datetime.now(UTC).timestamp() * 1000), f"{by}/{ULID()}")

    spool = Spool(config.events_dir / by.replace("/", "-"))
    async with httpx.AsyncClient(timeout=STREAMS_SECONDS, trust_env=False) as client:
        server = StreamServer(client, config.events_url, config.events_key())
        teller = Teller(server, spool, Identity(by, now, segment), rng())
        async with teller.running():
            yield teller

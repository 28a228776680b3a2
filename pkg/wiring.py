"""What every daemon's ``__main__`` wires the same way: its etcd client and its random source."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pkg.config import Settings
from pkg.errors import OnairError
from pkg.etcd.client import EtcdClient, EtcdOptions


def rng() -> random.Random:
    """For jitter and placement, not for secrets; seeded by the system."""
    return random.Random()  # noqa: S311


def now() -> str:
    """RFC 3339, UTC, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def etcd_client(config: Settings) -> AsyncGenerator[EtcdClient]:
    client = EtcdClient(
        EtcdOptions(
            endpoints=config.etcd_endpoints,
            namespace=config.etcd_prefix,
            ca_file=config.etcd_ca_file,
            cert_file=config.etcd_cert_file,
            key_file=config.etcd_key_file,
            username=config.etcd_username,
            password=config.etcd_password(),
        )
    )
    try:
        yield client
    finally:
        await client.aclose()


def last_words(program: str, errors: BaseExceptionGroup[OnairError]) -> str:
    """What a daemon says when it cannot go on: the innermost errors, a line each."""
    found: list[str] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                collect(inner)
        else:
            found.append(f"{program}: {error}")

    collect(errors)
    return "\n".join(dict.fromkeys(found))

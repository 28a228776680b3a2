"""Subscriptions as one thing to run: what `streams.__main__` wires."""

from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pkg.httpserver import App
from streams.app.access import Access
from streams.app.bodies import Bodies
from streams.store.store import Store
from streams.subscriptions.control import Control
from streams.subscriptions.courier import Courier
from streams.subscriptions.front import Front
from streams.subscriptions.registry import Subscriptions
from streams.subscriptions.signing import open_signing
from streams.subscriptions.webhook import HttpSender
from streams.wal.frames import DamagedError
from streams.wal.records import DecodeError


@dataclass(frozen=True, slots=True)
class Service:
    """``open_service`` makes one."""

    control: Control
    known: Subscriptions
    courier: Courier
    sender: HttpSender

    def front(self, app: App, access: Access, bodies: Bodies) -> Front:
        return Front(app, self.control, access, bodies)

    async def run(self) -> None:
        """Tell workers, until it is cancelled."""
        async with self.sender:
            await self.courier.run()


async def open_service(folder: Path, store: Store, public_url: str, *, loopback: bool) -> Service:
    """Raises ConfigError, DamagedError, OSError."""
    signing = await anyio.to_thread.run_sync(open_signing, folder)
    try:
        known = Subscriptions(store, signing)
    except DecodeError as error:
        raise DamagedError(f"{folder}: {error}") from None
    sender = HttpSender(loopback=loopback)
    courier = Courier(store, known, sender, public_url)
    control = Control(known, public_url, loopback=loopback)
    return Service(control, known, courier, sender)

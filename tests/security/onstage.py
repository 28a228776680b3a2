"""A room on air in a real Janus for a real gateway, without the daemons that would put it there."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from bench.host import Host
from janusmanager.api import Marker
from janusmanager.driver import JanusDriver
from pkg import keys
from pkg.etcd.api import Etcd, Put
from pkg.lifecycle import background
from pkg.model import Endpoints, Epoch, ModuleId, RoomId
from pkg.secrets import host_pin, room_secret
from tests.support import gateway_parts
from tests.support.gateway_process import MASTER, GatewayProcess, token
from tests.support.janus import PATIENT, RealJanus

BLUE = RoomId("blue")
MODULE, EPOCH, NUMBER = ModuleId("j1"), Epoch(7), 123456
PIN = host_pin(MASTER.encode(), BLUE, EPOCH)
SECRET = room_secret(MASTER.encode(), BLUE, EPOCH)


@dataclass(frozen=True)
class Stage:
    janus: RealJanus
    driver: JanusDriver

    async def participants(self) -> list[str]:
        """What Janus shows of each."""
        return [found.display for found in await self.driver.participants(NUMBER)]


@asynccontextmanager
async def on_air(janus: RealJanus, etcd: Etcd) -> AsyncGenerator[Stage]:
    """Room ``blue``."""
    driver = JanusDriver(janus.access, MODULE, random.Random(1), PATIENT)
    async with background(driver.run):
        with anyio.fail_after(PATIENT.deadline):
            await driver.connection()
        await driver.create_room(Marker(MODULE, BLUE, EPOCH), NUMBER, PIN, SECRET)
        where = Endpoints(ws=janus.settings.ws_url)
        state = gateway_parts.janus(EPOCH, NUMBER).model_copy(update={"endpoints": where})
        records = {
            "meta": gateway_parts.meta(most=100),
            "livemeta": gateway_parts.live(epoch=EPOCH),
            "janus": state,
        }
        for leaf, record in records.items():
            await etcd.txn([], [Put(keys.room(BLUE, leaf), record.encode())])  # type: ignore[arg-type]
        yield Stage(janus, driver)


@asynccontextmanager
async def talking(gateway: GatewayProcess, user: str, hertz: float) -> AsyncGenerator[Host]:
    """A host with sound in room ``blue``."""
    host = Host(hertz)
    try:
        await host.connect(gateway.url, token(user))
        await host.join()
        await host.publish()
        await host.connected()
        yield host
    finally:
        await host.close()

"""The Janus manager on a real etcd and a real Janus: a room's life, and both being restarted."""

import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from janusmanager.driver import JanusDriver
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.lifecycle import background
from pkg.secrets import room_secret
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.janus import PATIENT, RealJanus
from tests.support.janus import running as running_janus
from tests.support.janus_stage import HERE, J1, MASTER, Stage, running

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.janus]

PORT = 30_000
PATIENCE_SECONDS = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RealJanus]:
    with running_janus(tmp_path / "janus") as janus:
        yield janus


@asynccontextmanager
async def parts(
    url: str, namespace: str, process: RealJanus
) -> AsyncGenerator[tuple[Stage, JanusDriver]]:
    etcd = EtcdClient(EtcdOptions(endpoints=(url,), namespace=namespace))
    driver = JanusDriver(process.access, J1, random.Random(1), PATIENT)
    try:
        async with background(driver.run):
            yield Stage(etcd), driver
    finally:
        await etcd.aclose()


async def ports(janus: JanusDriver) -> dict[str, list[int]]:
    """room → where its mix goes"""
    found = {}
    for room in await janus.list_rooms():
        secret = room_secret(MASTER, room.marker.room_id, room.marker.janus_epoch)
        forwarders = await janus.forwarders(room.number, secret)
        assert {f.host for f in forwarders} <= {HERE}
        found[str(room.marker.room_id)] = [f.port for f in forwarders]
    return found


async def test_a_rooms_life(etcd_url: str, etcd_namespace: str, process: RealJanus) -> None:
    async with parts(etcd_url, etcd_namespace, process) as (stage, janus):
        async with running(stage.etcd, janus):
            await stage.start("blue", mixer_port=PORT)
            await stage.start("red", slot=1, mixer_port=PORT + 2)
            await stage.forwarding("blue", "red", within=PATIENCE_SECONDS)
            assert await ports(janus) == {"blue": [PORT], "red": [PORT + 2]}

            process.restart()  # every room is lost
            with anyio.fail_after(PATIENCE_SECONDS):
                await janus.connection(1)
                while await ports(janus) != {"blue": [PORT], "red": [PORT + 2]}:
                    await anyio.sleep(0.02)

        async with running(stage.etcd, janus):  # a new manager adopts what runs
            before = set((await stage.etcd.range("/")).kvs)
            await stage.mix("blue", PORT + 10)
            with anyio.fail_after(PATIENCE_SECONDS):
                while (await ports(janus))["blue"] != [PORT + 10]:
                    await anyio.sleep(0.02)
            written = set((await stage.etcd.range("/")).kvs) - before
            assert {kv.key for kv in written} == {"/rooms/blue/mixer"}, "by the stage itself"

            await stage.stop("blue")
            with anyio.fail_after(PATIENCE_SECONDS):
                while await stage.slots() != {"red": (await stage.live("red")).janus_epoch}:
                    await anyio.sleep(0.02)
            assert await stage.state("blue") is None
            assert list(await ports(janus)) == ["red"]

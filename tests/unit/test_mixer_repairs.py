"""A mixer whose keys were damaged behind its back: it converges all the same (I9, I14)."""

import anyio
import pytest

from mixer.controller import LOST_SECONDS
from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Desired, Kind, MixerStatus, RoomId
from tests.support.virtual import BLUE, M1, until
from tests.unit.test_mixer_controller import Host, daemon, wish

pytestmark = pytest.mark.anyio
STATE = keys.room(BLUE, "mixer")
PLACE = keys.slot(Kind.MIXER, M1, 0)


async def test_a_lost_place_ends_nothing_that_livemeta_names() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(Delete(PLACE))
        await anyio.sleep(10 * LOST_SECONDS)
        assert host.alive() == [running], "it is the room manager's to mend, and audio goes on"
        assert host.status() is MixerStatus.PUBLISHING


async def test_a_process_that_dies_without_a_place_is_not_reported_as_publishing_for_ever() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(Delete(PLACE))
        host.machine.kill(running)
        await until(lambda: host.state() is None)


@pytest.mark.parametrize("how", [Desired.STOPPING, Desired.REMOVING])
async def test_what_lost_its_place_still_ends(how: Desired) -> None:
    """Else the room manager waits for its key for ever."""
    host = Host()
    async with daemon(host):
        await host.publishing()
        await host.write(Delete(PLACE))
        await anyio.sleep(1)
        await host.wish(wish(5, how), place=False)
        await until(lambda: host.alive() == [] and host.state() is None, within=5.0)


async def test_a_broken_key_of_ours_is_written_anew() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(Put(STATE, b"{"))
        await anyio.sleep(1)
        assert host.status() is MixerStatus.PUBLISHING
        assert host.alive() == [running]


@pytest.mark.parametrize("how", [Desired.STOPPING, Desired.REMOVING])
async def test_a_broken_key_of_ours_keeps_no_room_from_ending(how: Desired) -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
    await host.write(Put(STATE, b"{"))
    await host.wish(wish(5, how), place=False)
    async with daemon(host):
        await until(lambda: host.alive() == [] and host.slots() == 0)
        assert host.store.get(STATE) is None


async def test_an_etcd_younger_than_a_process_is_not_believed() -> None:
    """An empty or restored etcd says nothing about what is on air, even once it has caught up."""
    host = Host()
    async with daemon(host):
        running = await host.publishing()
    host.store = MemoryStore()
    host.etcd, host.other = MemoryEtcd(host.store), MemoryEtcd(host.store)
    async with daemon(host):
        await anyio.sleep(2 * LOST_SECONDS)
        for number in range(10):
            await host.write(Put("/onair/x", b"%d" % number))
        await anyio.sleep(2 * LOST_SECONDS)
        assert host.alive() == [running]
        assert host.machine.folders, "nor are its files touched"


async def test_the_port_of_a_process_that_died_rests_too() -> None:
    """Its forwarder may still send: the next room there would hear another room's sound."""
    host = Host()
    async with daemon(host):
        dead = await host.publishing()
        host.machine.kill(dead)
        await host.wish(wish(5, Desired.STOPPING), place=False)
        await until(lambda: host.slots() == 0)
        assert host.alive() == []
        await host.wish(wish(7, room_id=RoomId("red"), slot=1))
        await until(lambda: len(host.alive()) == 1)
        assert host.alive()[0].port != dead.port


@pytest.mark.parametrize("status", [Desired.STOPPING, Desired.REMOVING])
async def test_a_room_ends_though_its_disk_lets_nothing_be_deleted(status: Desired) -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        host.machine.read_only = True
        await host.wish(wish(5, status), place=False)
        await until(lambda: host.slots() == 0, within=2)
        assert (host.alive(), host.state()) == ([], None)
        await host.write(Delete(keys.room(BLUE, "livemeta")))
        await anyio.sleep(60)
        host.machine.read_only = False
        await until(lambda: not host.machine.folders, within=60)

"""A mixer whose rooms go elsewhere: make before break, at once, or while it was away (I3, I5)."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Op, Put
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    Previous,
    Slot,
)
from tests.support.virtual import BLUE, M1, M2, observed, until
from tests.unit.test_mixer_controller import Host, daemon, wish

pytestmark = pytest.mark.anyio
LIVE, STATE = keys.room(BLUE, "livemeta"), keys.room(BLUE, "mixer")
PLACE = keys.slot(Kind.MIXER, M1, 0)
OLD = Previous(mixer_id=M1, epoch=Epoch(5), slot=0, endpoints=Endpoints(origin="http://m1"))


def moved(epoch: int = 9, status: Desired = Desired.ONAIR, *, leaving: bool = True) -> LiveMeta:
    """Blue, from epoch 5 here to M2."""
    changes = {"mixer_id": M2, "previous": OLD if leaving else None}
    return wish(epoch, status).model_copy(update=changes)


def written(live: LiveMeta) -> Op:
    return Put(LIVE, live.encode())


async def test_what_leaves_stays_as_it_is_until_it_is_dropped() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(written(moved()))
        await host.write(Put(STATE, observed(Kind.MIXER, moved()).encode()))
        revision = host.store.revision
        await anyio.sleep(120)
        assert host.alive() == [running]
        assert host.slots() == 1
        assert host.store.revision == revision, "the new mixer speaks for the room"
        await host.write(written(moved(leaving=False)))
        await until(lambda: host.slots() == 0, within=2)
        assert host.alive() == []
        assert host.machine.folders == {}
        told = host.state()
        assert told is not None
        assert told.mixer_id == M2, "what the new mixer told is not ours to delete"


async def test_what_leaves_is_not_started_again_and_keeps_its_place() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(written(moved()))
        host.machine.kill(running)
        await anyio.sleep(60)
        assert host.alive() == []
        assert (BLUE, 5) in host.machine.folders, "players may still fetch what was listed"
        assert host.slots() == 1
        await host.write(written(moved(leaving=False)))
        await until(lambda: host.slots() == 0 and not host.machine.folders, within=2)


@pytest.mark.parametrize("how", [Desired.STOPPING, Desired.REMOVING])
async def test_a_room_that_ends_while_it_leaves_ends_here_too(how: Desired) -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        await host.write(written(moved()))
        await anyio.sleep(1)
        await host.write(written(moved(status=how)))
        await until(lambda: host.slots() == 0, within=2)
        assert host.alive() == []
        assert ((BLUE, 5) in host.machine.folders) == (how is Desired.STOPPING)
        await host.write(Delete(LIVE))
        await until(lambda: not host.machine.folders)


async def test_a_restarted_daemon_lets_what_leaves_stay() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
    await host.write(written(moved()))
    async with daemon(host, seed=2):
        await anyio.sleep(60)
        assert host.alive() == [running]
        assert host.slots() == 1


async def test_a_new_epoch_of_the_same_place_gets_its_own_port() -> None:
    """Janus moved, and the old one may live on: it would still send to the old port."""
    host = Host()
    async with daemon(host):
        old = await host.publishing()
        slot = Slot(room_id=BLUE, epoch=Epoch(9))
        await host.write(written(wish(9)), Put(PLACE, slot.encode()))
        await until(lambda: [r.epoch for r in host.alive()] == [9])
        (new,) = host.alive()
        assert new.port != old.port
        told = host.state()
        assert told is not None
        assert (told.epoch, told.port, host.slots()) == (9, new.port, 1)
        await anyio.sleep(25)
        assert (BLUE, 5) in host.machine.folders, "players may still fetch what it listed"
        await until(lambda: (BLUE, 5) not in host.machine.folders)


async def test_a_place_here_for_a_place_here() -> None:
    """It moved away and back before the first move was complete: both run, each on its own."""
    host = Host()
    async with daemon(host):
        old = await host.publishing()
        slot = Slot(room_id=BLUE, epoch=Epoch(9))
        live = wish(9, slot=1).model_copy(update={"previous": OLD})
        await host.write(written(live), Put(keys.slot(Kind.MIXER, M1, 1), slot.encode()))
        await until(lambda: len(host.alive()) == 2)
        (new,) = [r for r in host.alive() if r != old]
        assert new.port != old.port
        await host.write(written(live.model_copy(update={"previous": None})))
        await until(lambda: host.alive() == [new] and host.slots() == 1)
        assert set(host.machine.folders) == {(BLUE, 9)}


async def test_one_that_comes_back_after_its_room_was_moved_ends_it_at_once() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
    theirs = observed(Kind.MIXER, moved(leaving=False))
    await host.write(written(moved(leaving=False)), Delete(PLACE), Put(STATE, theirs.encode()))
    async with daemon(host, seed=2):
        await until(lambda: host.alive() == [], within=1)
        await until(lambda: not host.machine.folders)
        await anyio.sleep(30)
        assert host.state() == MixerState.model_validate(theirs.model_dump())


async def test_one_that_was_cut_off_from_etcd_ends_what_was_moved() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        host.etcd.outage(down=True)
        await anyio.sleep(60)
        await host.write(written(moved(leaving=False)), Delete(PLACE), Delete(STATE))
        host.etcd.outage(down=False)
        await until(lambda: host.alive() == [], within=5)


async def test_a_room_that_comes_back_later_is_as_new() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        await host.write(written(moved(leaving=False)))
        await until(lambda: host.slots() == 0)
        await anyio.sleep(60)
        back = await host.publishing(wish(20))
        assert back.epoch == 20
        assert host.status() is MixerStatus.PUBLISHING

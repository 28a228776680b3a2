"""A mixer on one host, in virtual time: starts, crashes, stops, restarts, outages (I5, I6, I9)."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from mixer.api import Mix, Running
from mixer.controller import MixerController, Node
from mixer.housekeeping import sweep_for_ever
from mixer.plan import Self
from mixer.ports import Ports
from pkg import keys
from pkg.etcd.api import Delete, Op, Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import (
    Desired,
    Ended,
    Endpoints,
    Epoch,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
    Slot,
)
from tests.support.fake_processes import FakeProcesses, Machine
from tests.support.virtual import BLUE, J1, M1, until

pytestmark = pytest.mark.anyio
NODE = Node(Self(M1, "127.0.0.1", Endpoints(origin="http://m1")), 2.0, b"m" * 32)


class Host:
    """A machine with a mixer on it, and what the room manager writes for it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.revision = 100  # above the epochs of these tests, as in any real etcd
        self.etcd, self.other = MemoryEtcd(self.store), MemoryEtcd(self.store)
        self.machine = Machine()
        self.processes = FakeProcesses(M1, self.machine)

    async def write(self, *ops: Op) -> None:
        await self.other.txn([], ops)

    async def wish(self, live: LiveMeta, *, place: bool = True) -> None:
        slot = Slot(room_id=live.room_id, epoch=live.mixer_epoch)
        ops: list[Op] = [Put(keys.room(live.room_id, "livemeta"), live.encode())]
        if place:
            ops.append(Put(keys.slot(Kind.MIXER, M1, live.mixer_slot), slot.encode()))
        await self.write(*ops)

    def state(self, room_id: RoomId = BLUE) -> MixerState | None:
        kv = self.store.get(keys.room(room_id, "mixer"))
        return MixerState.decode(kv.value) if kv else None

    def status(self, room_id: RoomId = BLUE) -> MixerStatus | None:
        state = self.state(room_id)
        return state.status if state else None

    def slots(self) -> int:
        return sum(1 for _ in self.store.under(keys.slots_prefix(Kind.MIXER, M1)))

    def alive(self) -> list[Running]:
        """What this mixer runs."""
        return [p.running for p in self.machine.alive() if p.mixer_id == M1]

    async def publishing(self, live: LiveMeta | None = None) -> Running:
        """Start blue and feed it, until it publishes."""
        await self.wish(live or wish(5))
        await until(lambda: bool(self.alive()))
        (running,) = self.alive()
        self.machine.feed(running.port)
        await until(lambda: self.status() is MixerStatus.PUBLISHING)
        return running


def wish(
    epoch: int, status: Desired = Desired.ONAIR, room_id: RoomId = BLUE, slot: int = 0
) -> LiveMeta:
    return LiveMeta(
        room_id=room_id,
        status=status,
        janus_id=J1,
        janus_epoch=Epoch(epoch),
        janus_slot=slot,
        mixer_id=M1,
        mixer_epoch=Epoch(epoch),
        mixer_slot=slot,
        epoch=Epoch(epoch),
        nonce="n",
        started_at="",
    )


@asynccontextmanager
async def daemon(host: Host, *, seed: int = 1) -> AsyncGenerator[MixerController]:
    """The mixer's loops but its heart, ended with the block; its processes live on."""
    processes = FakeProcesses(M1, host.machine)
    host.processes = processes
    ports = Ports(30_000, 10, processes.bindable)
    mixer = MixerController(host.etcd, NODE, processes, processes, ports, random.Random(seed))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mixer.assignments.informer.run)
        tasks.start_soon(mixer.run)
        tasks.start_soon(sweep_for_ever, mixer, processes)
        yield mixer
        tasks.cancel_scope.cancel()


async def test_a_start_goes_over_starting_to_publishing_and_then_all_is_quiet() -> None:
    host = Host()
    async with daemon(host):
        await host.wish(wish(5))
        await until(lambda: host.status() is MixerStatus.STARTING)
        (running,) = host.alive()
        state = host.state()
        assert state is not None
        assert (state.port, state.epoch, state.ip) == (running.port, 5, "127.0.0.1")
        host.machine.feed(running.port)
        await until(lambda: host.status() is MixerStatus.PUBLISHING)
        revision = host.store.revision
        await anyio.sleep(600)
        assert host.store.revision == revision, "nothing is written while nothing changes"
        assert host.alive() == [running]


async def test_the_port_is_told_while_the_process_is_spawned() -> None:
    host = Host()
    async with daemon(host):
        host.processes.spawn_takes = 1.0
        await host.wish(wish(5))
        await anyio.sleep(0.5)
        told = host.state()
        assert host.alive() == []
        assert told is not None
        assert told.status is MixerStatus.STARTING
        await until(lambda: [r.port for r in host.alive()] == [told.port])


async def test_a_process_that_dies_comes_back_on_its_port_and_goes_on_counting() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(30)
        host.machine.kill(running)
        await until(lambda: host.alive() not in ([], [running]))
        (again,) = host.alive()
        assert again.port == running.port
        assert again.after > 0, "numbers go on where the dead one ended"
        await until(lambda: host.status() is MixerStatus.PUBLISHING)
        state = host.state()
        assert state is not None
        assert state.reason is None


async def test_a_crash_loop_is_no_hot_loop_and_says_why() -> None:
    host = Host()
    async with daemon(host):
        await host.wish(wish(5))
        with anyio.move_on_after(300):
            while True:
                for running in host.alive():
                    host.machine.kill(running)
                await anyio.sleep(0.05)
        assert 8 <= len(host.processes.spawned) <= 60
        state = host.state()
        assert state is not None
        assert state.status is MixerStatus.FAILING
        assert state.failures > 5
        assert state.reason == "FFmpeg ended without a word"


async def test_what_cannot_be_spawned_is_tried_again_ever_later() -> None:
    host = Host()
    async with daemon(host):
        host.processes.failures = 6
        await host.wish(wish(5))
        await until(lambda: host.status() is MixerStatus.FAILING)
        await until(lambda: bool(host.alive()), within=60)
        await until(lambda: host.status() is MixerStatus.STARTING)


async def test_without_sound_it_is_starved_and_recovers_by_itself() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        host.machine.starve(running.port)
        await until(lambda: host.status() is not MixerStatus.PUBLISHING, within=30)
        await anyio.sleep(120)
        host.machine.feed(running.port)
        await until(lambda: host.status() is MixerStatus.PUBLISHING, within=60)
        assert len(host.alive()) == 1


async def test_stop_frees_everything_but_the_folder_until_the_after_life_ends() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        await host.wish(wish(5, Desired.STOPPING), place=False)
        await until(lambda: host.slots() == 0)
        assert host.alive() == []
        assert host.state() is None
        assert host.machine.keys == set(), "its key is of no use to anybody now"
        await anyio.sleep(120)
        assert (BLUE, 5) in host.machine.folders, "while the room is stopping"
        ended = Ended(room_id=BLUE, mixer_id=M1, epoch=Epoch(5), nonce="n", origin="http://m1")
        await host.write(
            Delete(keys.room(BLUE, "livemeta")), Put(keys.ended(M1, BLUE), ended.encode())
        )
        await anyio.sleep(55)
        assert (BLUE, 5) in host.machine.folders
        await host.write(Delete(keys.ended(M1, BLUE)))
        await until(lambda: not host.machine.folders, within=15)


async def test_removing_deletes_at_once() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        await host.wish(wish(5, Desired.REMOVING), place=False)
        await until(lambda: host.slots() == 0, within=2)
        assert host.alive() == []
        assert host.machine.folders == {}
        assert host.state() is None


async def test_a_stop_and_start_at_once_gives_a_new_epoch_its_own_process() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.wish(wish(5, Desired.STOPPING), place=False)
        await until(lambda: host.slots() == 0)
        await host.wish(wish(9))
        await until(lambda: bool(host.alive()))
        (again,) = host.alive()
        assert again.epoch == 9
        assert again.port != running.port, "Janus may still send the old room's sound there"


async def test_a_restarted_daemon_adopts_what_runs() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
    await anyio.sleep(3)
    revision = host.store.revision
    async with daemon(host, seed=2):
        await anyio.sleep(300)
        assert host.alive() == [running]
        assert host.processes.spawned == []
        assert host.store.revision == revision
        host.machine.kill(running)
        await until(lambda: host.alive() not in ([], [running]))


async def test_a_daemon_that_was_away_during_a_stop_catches_up() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
    await host.wish(wish(5, Desired.REMOVING), place=False)
    async with daemon(host, seed=2):
        await until(lambda: host.slots() == 0)
        assert host.alive() == []
        assert host.machine.folders == {}


async def test_an_orphan_is_ended_only_when_seen_in_two_sweeps() -> None:
    host = Host()
    orphan = host.machine.begin(M1, Mix(RoomId("lost"), Epoch(3), 30_010, "n", b""))
    host.machine.feed(30_010)
    async with daemon(host):
        await anyio.sleep(15)
        assert host.alive() == [orphan]
        await until(lambda: host.alive() == [], within=30)
        await until(lambda: host.machine.folders == {}, within=30)


async def test_what_another_mixer_runs_is_never_touched() -> None:
    host = Host()
    other = host.machine.begin(ModuleId("m2"), Mix(BLUE, Epoch(3), 30_010, "n", b""))
    host.machine.feed(30_010)
    async with daemon(host):
        await host.publishing()
        await anyio.sleep(300)
        assert other in {p.running for p in host.machine.alive()}


async def test_ten_minutes_without_etcd_stop_nothing() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        host.etcd.outage(down=True)
        await anyio.sleep(600)
        assert host.alive() == [running]
        host.etcd.outage(down=False)
        await anyio.sleep(60)
        assert host.alive() == [running]
        assert host.status() is MixerStatus.PUBLISHING


async def test_a_process_that_dies_in_an_outage_is_replaced_at_once() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(30)
        host.etcd.outage(down=True)
        await anyio.sleep(30)
        host.machine.kill(running)
        await until(lambda: len(host.alive()) == 1, within=5)


async def test_an_orphan_is_not_ended_on_the_word_of_an_etcd_that_is_away() -> None:
    host = Host()
    async with daemon(host):
        await anyio.sleep(1)
        host.etcd.outage(down=True)
        orphan = host.machine.begin(M1, Mix(RoomId("lost"), Epoch(3), 30_010, "n", b""))
        host.machine.feed(30_010)
        await anyio.sleep(600)
        assert host.alive() == [orphan]


async def test_a_port_that_a_stranger_took_is_left_to_him() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        host.machine.strangers.add(running.port + 1)
        host.machine.kill(running)
        await until(lambda: host.alive() not in ([], [running]), within=60)
        (again,) = host.alive()
        assert again.port != running.port
        await until(lambda: (s := host.state()) is not None and s.port == again.port)


async def test_twins_end_as_one_and_the_healthy_one_stays() -> None:
    """A predecessor was killed between spawning and knowing: two run for one epoch."""
    host = Host()
    async with daemon(host):
        running = await host.publishing()
    jammed = host.machine.begin(M1, Mix(BLUE, Epoch(5), 30_010, "n", b""))
    host.machine.pause(jammed)
    elder = host.machine.processes.pop(running.pid)
    host.machine.processes[running.pid] = elder  # listed after its twin
    async with daemon(host, seed=2):
        await anyio.sleep(20)
        assert host.alive() == [running]
        assert host.processes.spawned == []


async def test_many_rooms_share_no_port() -> None:
    host = Host()
    async with daemon(host):
        for n in range(8):
            await host.wish(wish(5 + n, room_id=RoomId(f"r{n}"), slot=n))
        await until(lambda: len(host.alive()) == 8)
        assert len({r.port for r in host.alive()}) == 8
        assert len({r.room_id for r in host.alive()}) == 8


async def test_an_unreadable_wish_leaves_its_process_alone_and_other_rooms_work() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await host.write(Put(keys.room(BLUE, "livemeta"), b"{"))
        await host.wish(wish(9, room_id=RoomId("red"), slot=1))
        await until(lambda: len(host.alive()) == 2)
        await anyio.sleep(120)
        assert running in host.alive()


async def test_a_sweep_during_a_stop_does_not_take_the_dying_for_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = Host()
    async with daemon(host) as mixer:
        running = await host.publishing()
        await anyio.sleep(30)
        host.machine.pause(running)
        await until(lambda: not mixer.inventory.running(BLUE))
        await mixer.sweep()
        assert not mixer.inventory.running(BLUE), "it is being ended"
        await until(lambda: host.alive() not in ([], [running]), within=20)
        await until(lambda: host.status() is MixerStatus.PUBLISHING)
        assert "mix.exited" not in capsys.readouterr().out

"""Scenarios for bugs that no other test would have seen."""

import random
import subprocess
import sys

import anyio

from mixer import process
from pkg.errors import OnairError
from pkg.etcd.api import Put, UnavailableError
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.informer import Informer
from pkg.model import Desired, Kind, RoomId
from roommanager import housekeeping
from roommanager.verdict import Answer
from tests.support.keeping import house
from tests.support.stage import on_m2
from tests.support.virtual import M1, live_of, until
from tests.unit.test_failover_races import dying
from tests.unit.test_mixer_controller import Host, daemon, wish
from tests.unit.test_wishes import stage

RED = RoomId("red")


async def lost_answers_to_users_are_read_back() -> None:
    """What was done is not told as refused (I8)."""
    async with stage() as (one, _):
        told = []
        for verb, given in (("create", (RED, None, {})), ("delete", (RED,))):
            one.etcd.lose_answers(1)
            try:
                await getattr(one.wishes, verb)(*given)
            except OnairError as error:
                told.append(f"{verb}: {type(error).__name__}")
        assert told == []


async def a_move_that_etcd_cuts_short_loses_no_room() -> None:
    """etcd is away just when the room's new place is to be taken (I8)."""

    async def away() -> None:
        raise UnavailableError("etcd is away for a moment")

    async with dying() as (on, etcd, before):
        etcd.before = away
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: etcd.before is None)
        await anyio.sleep(10)
        assert live_of(on.store).nonce == before.nonce
        assert on_m2(on)


async def what_is_written_between_list_and_watch_is_seen() -> None:
    class Busy(MemoryEtcd):
        """Somebody writes right after each list."""

        async def range(self, prefix, *, limit=0, start=None):  # type: ignore[no-untyped-def]
            found = await super().range(prefix, limit=limit, start=start)
            if self.store.revision < 20:
                await MemoryEtcd(self.store).txn([], [Put(f"/a/{self.store.revision}", b"")])
            return found

    store = MemoryStore()
    informer = Informer(Busy(store), ("/a/",), random.Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(informer.run)
        await informer.synced.wait()
        await anyio.sleep(30)
        assert set(informer.keys("/a/")) == {kv.key for kv in store.under("/a/")}
        tasks.cancel_scope.cancel()


async def a_place_is_given_back_after_its_process_ended() -> None:
    """FFmpeg may take its time to end; nobody gets its place or its port meanwhile (I2, I6)."""
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(30)
        host.machine.jam(running)
        await host.wish(wish(5, Desired.REMOVING), place=False)
        await until(lambda: host.slots() == 0, within=20)
        assert host.alive() == []


async def a_crash_loop_starts_few_processes() -> None:
    """Twenty seconds of it: a wait that doubles lets seven or eight be started (I14)."""
    host = Host()
    async with daemon(host):
        await host.wish(wish(5))
        with anyio.move_on_after(20):
            while True:
                for running in host.alive():
                    host.machine.kill(running)
                await anyio.sleep(0.05)
        assert 4 <= len(host.processes.spawned) <= 20


async def nothing_is_left_over_in_an_outage() -> None:
    """What a copy that may be old shows is not believed (I9)."""
    async with house() as it:
        await it.write("/rooms/blue/mixer", b"{}")
        await anyio.sleep(1)
        assert housekeeping.look(it.manager.view)
        it.manager.etcd.outage(down=True)
        await until(lambda: it.manager.view.informer.broken_since is not None)
        assert housekeeping.look(it.manager.view) == frozenset()


def a_pid_that_changed_hands_is_a_stranger() -> None:
    """Whoever has it now is neither adopted nor signalled (I10)."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            found = process.seen(child.pid)
            assert found is not None
            assert not process.is_alive(child.pid, found.started + 1)
            assert process.Handle.open(child.pid, found.started + 1) is None
        finally:
            child.kill()

"""What the modules and gateways tell: turning points, once each, also over a restart."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from mixer.controller import MixerController
from mixer.ports import Ports
from pkg.etcd.memory import MemoryStore
from pkg.events.records import FfmpegRestarted, HostJoined
from pkg.model import HostStatus, MixerStatus
from tests.support.fake_processes import FakeProcesses
from tests.support.gateway_parts import claim, running
from tests.support.heard import Heard
from tests.support.virtual import M1, until
from tests.unit.test_mixer_controller import NODE, Host, wish

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def mixer(host: Host, heard: Heard) -> AsyncGenerator[None]:
    processes = FakeProcesses(M1, host.machine)
    host.processes = processes
    ports = Ports(30_000, 10, processes.bindable)
    node = replace(NODE, events=heard)
    one = MixerController(host.etcd, node, processes, processes, ports, random.Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.assignments.informer.run)
        tasks.start_soon(one.run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_mixer_tells_a_start_and_its_first_segment_once_over_a_restart() -> None:
    host, heard = Host(), Heard()
    async with mixer(host, heard):
        port = (await host.publishing()).port
        await hush(host, port)
    async with mixer(host, heard):
        await anyio.sleep(5)
        await hush(host, port)
    assert heard.types == ["ffmpeg.started", "segment.listed"]


async def hush(host: Host, port: int) -> None:
    """No sound for a while."""
    host.machine.starve(port)
    await until(lambda: host.status() is MixerStatus.STARVED, within=60)
    host.machine.feed(port)
    await until(lambda: host.status() is MixerStatus.PUBLISHING, within=60)


async def test_of_a_crash_loop_ever_fewer_restarts_are_told() -> None:
    host, heard = Host(), Heard()
    async with mixer(host, heard):
        await host.wish(wish(5))
        for _ in range(20):
            await until(lambda: bool(host.alive()), within=120)
            (found,) = host.alive()
            host.machine.kill(found)
            await until(lambda found=found: found not in host.alive())  # type: ignore[misc]
    restarts = [event for event in heard.events if isinstance(event, FfmpegRestarted)]
    assert [event.failures for event in restarts] == [1, 2, 4, 8, 16]
    assert all(event.reason for event in restarts)


async def test_a_gateway_tells_who_came_and_went_once_each() -> None:
    store, heard = MemoryStore(), Heard()
    async with running(store, "g1", events=heard) as gateway:
        came, looked = claim("c1"), claim("c2", user="bob")
        for one in (came, looked):
            assert await gateway.presence.take(one, takeover=False)
        note = gateway.presence.note
        for status in (HostStatus.CONNECTED, HostStatus.JOINED, HostStatus.LIVE, HostStatus.JOINED):
            note(came, status, "Ann", muted=False)
        assert heard.types == ["host.joined"]
        for _ in range(2):
            await gateway.presence.freed(came)
        await gateway.presence.freed(looked)  # he never joined
    assert heard.types == ["host.joined", "host.left"]
    assert isinstance(heard.events[0], HostJoined)
    assert heard.events[0].user_id == "ann"

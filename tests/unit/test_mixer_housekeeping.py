"""The mixer's sweeps, in virtual time: what one of them meets never ends the daemon."""

import random

import anyio
import pytest

from mixer.controller import MixerController, Node
from mixer.housekeeping import SWEEP_SECONDS, sweep_for_ever
from mixer.plan import Self
from mixer.ports import Ports
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Endpoints, Epoch, RoomId
from tests.support.fake_processes import FakeProcesses, Machine
from tests.support.virtual import BLUE, M1

pytestmark = pytest.mark.anyio


class BadDisk(FakeProcesses):
    trims = 0

    async def trim(self, room_id: RoomId, epoch: Epoch) -> None:
        self.trims += 1
        raise OSError("Input/output error")


async def test_a_disk_that_fails_ends_no_sweep_and_no_daemon() -> None:
    machine = Machine()
    machine.folders |= {(BLUE, Epoch(5)): 1, (RoomId("red"), Epoch(6)): 1}
    node = Node(Self(M1, "127.0.0.1", Endpoints()), 2.0, b"m" * 32)
    disk = BadDisk(M1, machine)
    ports = Ports(30000, 4, disk.bindable)
    mixer = MixerController(MemoryEtcd(), node, disk, disk, ports, random.Random(1))
    with anyio.move_on_after(2 * SWEEP_SECONDS + 1) as span:
        await sweep_for_ever(mixer, disk)
    assert span.cancelled_caught
    assert disk.trims == 4, "both rooms, in both sweeps"

"""Two watches, two ages: a module's places may show before the wishes they were taken with."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from pkg import keys
from pkg.assignments import Assignments
from pkg.etcd.api import Batch, ConflictError
from pkg.etcd.memory import MemoryEtcd
from pkg.lifecycle import background
from pkg.model import Kind, RoomId
from pkg.workqueue import WorkQueue
from tests.support.fake_janus import FakeJanus
from tests.support.janus_stage import J1, Stage, eventually, running

pytestmark = pytest.mark.anyio
BLUE = RoomId("blue")
LAG_SECONDS = 1.0


class LaggingEtcd(MemoryEtcd):
    """What is watched under /rooms/ comes late."""

    @asynccontextmanager
    async def watch(
        self, prefix: str, *, since: int | None
    ) -> AsyncGenerator[AsyncIterator[Batch]]:
        async with (
            super().watch(prefix, since=since) as batches,
            aclosing(_late(batches)) as late,
        ):
            yield late if prefix.startswith(keys.ROOMS) else batches


async def _late(batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch]:
    async for batch in batches:
        await anyio.sleep(LAG_SECONDS)
        yield batch


async def test_a_fresh_place_waits_for_its_wish() -> None:
    stage, rng = Stage(LaggingEtcd()), random.Random(1)
    assignments = Assignments(stage.etcd, Kind.JANUS, J1, WorkQueue(rng), rng)
    assignments.follow(BLUE)
    async with background(assignments.informer.run, ready=assignments.informer.synced.wait):
        epoch = await stage.start(BLUE)
        await eventually(lambda: bool(assignments.held(BLUE)), within=LAG_SECONDS / 2)
        assert assignments.get(BLUE) is None
        await eventually(lambda: assignments.get(BLUE) is not None, within=3 * LAG_SECONDS)
        assigned = assignments.get(BLUE)
        assert assigned is not None
        assert assigned.wanted == epoch


async def test_a_place_is_given_back_only_on_the_present_wish() -> None:
    stage, janus = Stage(MemoryEtcd()), FakeJanus(J1)
    async with running(stage.etcd, janus) as controller:
        await stage.start(BLUE)
        await eventually(lambda: bool(janus.rooms), within=1)
        await anyio.sleep(1)
        assigned = controller.assignments.get(BLUE)
        assert assigned is not None
        assert assigned.wanted is not None
        stale = replace(assigned, live_revision=assigned.live_revision - 1)
        with pytest.raises(ConflictError):
            await controller.assignments.withdraw(stale, "janus", {assigned.wanted})

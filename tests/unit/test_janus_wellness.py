"""What a Janus manager says of its own health."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from janusmanager.api import JanusInfo
from janusmanager.controller import JanusController
from janusmanager.wellness import ANSWER_SECONDS, look
from pkg.assignments import BLIND_SECONDS
from pkg.etcd.memory import MemoryEtcd
from pkg.heartbeat import WELL
from tests.support.fake_janus import FakeJanus
from tests.support.janus_stage import J1, running

pytestmark = pytest.mark.anyio


class Bare(FakeJanus):
    """Without the AudioBridge."""

    async def info(self) -> JanusInfo:
        return JanusInfo("1.1.2", frozenset({"janus.plugin.echotest"}))


@asynccontextmanager
async def well(janus: FakeJanus, etcd: MemoryEtcd) -> AsyncGenerator[JanusController]:
    async with running(etcd, janus) as controller:
        with anyio.fail_after(2):
            while await look(janus, controller) != WELL:
                await anyio.sleep(0.01)
        yield controller


async def test_a_janus_that_refuses_us_is_unhealthy_until_it_is_mended() -> None:
    janus = FakeJanus(J1)
    async with well(janus, MemoryEtcd()) as controller:
        janus.refuse("wrong admin key")
        janus.reconnect()
        await anyio.sleep(1)
        found = await look(janus, controller)
        assert (found.status, found.reason) == ("unhealthy", "wrong admin key")
        janus.refuse(None)
        await anyio.sleep(5)
        assert await look(janus, controller) == WELL


async def test_a_janus_that_is_away_is_unhealthy() -> None:
    janus = FakeJanus(J1)
    async with well(janus, MemoryEtcd()) as controller:
        janus.down()
        found = await look(janus, controller)
        assert found.status == "unhealthy"
        assert "down" in (found.reason or "")


async def test_a_frozen_janus_is_unhealthy_within_the_time_an_answer_may_take() -> None:
    janus = FakeJanus(J1)
    async with well(janus, MemoryEtcd()) as controller:
        janus.freeze()
        began = anyio.current_time()
        found = await look(janus, controller)
        assert anyio.current_time() - began <= ANSWER_SECONDS + 0.01
        assert found.status == "unhealthy"
        assert "does not answer" in (found.reason or "")


async def test_a_janus_without_the_audiobridge_is_unhealthy() -> None:
    janus = FakeJanus(J1)
    async with well(janus, MemoryEtcd()) as controller:
        found = await look(Bare(J1), controller)
        assert found.status == "unhealthy"
        assert "audiobridge" in (found.reason or "")


async def test_one_that_cannot_follow_etcd_is_busy() -> None:
    janus, etcd = FakeJanus(J1), MemoryEtcd()
    async with well(janus, etcd) as controller:
        etcd.outage(down=True)
        await anyio.sleep(1)
        assert await look(janus, controller) == WELL, "a short one is nobody's business"
        await anyio.sleep(BLIND_SECONDS)
        assert (await look(janus, controller)).status == "busy"
        etcd.outage(down=False)
        await anyio.sleep(3)
        assert await look(janus, controller) == WELL

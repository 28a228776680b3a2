"""A mixer's FFmpegs that go wrong: seen within three segments, told, started again (issue 3)."""

import anyio
import pytest

from mixer.cmdline import LISTEN_SECONDS
from pkg.model import MixerStatus
from tests.support.virtual import BLUE, until
from tests.unit.test_mixer_controller import Host, daemon, wish

pytestmark = pytest.mark.anyio
SEEN_SECONDS = 3 * 2.0 + 0.3


def failing(host: Host, times: int, why: str) -> bool:
    """Is it told, with so many failures in a row and such a reason?"""
    state = host.state()
    if state is None or state.status is not MixerStatus.FAILING:
        return False
    return state.failures >= times and why in (state.reason or "")


async def test_a_stuck_one_is_seen_and_replaced() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(30)
        host.machine.jam(running)
        await until(lambda: host.alive() != [running], within=SEEN_SECONDS + 3.0)
        await until(lambda: len(host.alive()) == 1 and host.status() is MixerStatus.PUBLISHING)
        state = host.state()
        assert state is not None
        assert (state.port, state.reason) == (running.port, None)


async def test_a_paused_one_is_seen_and_replaced() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(30)
        host.machine.pause(running)
        await until(lambda: host.alive() != [running], within=SEEN_SECONDS + 3.0)


async def test_silence_is_seen_within_three_segments() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(31.3)
        host.machine.starve(running.port)
        await until(lambda: host.status() is MixerStatus.STARVED, within=SEEN_SECONDS)


@pytest.mark.parametrize("before", [0.0, 40.0])
async def test_a_long_silence_is_nobodys_failure_and_costs_no_writes(before: float) -> None:
    host = Host()
    async with daemon(host):
        if before:
            running = await host.publishing()
            await anyio.sleep(before)
            host.machine.starve(running.port)
        else:
            await host.wish(wish(5))
        await until(lambda: host.status() is MixerStatus.STARVED, within=10)
        revision, spawned = host.store.revision, len(host.processes.spawned)
        await anyio.sleep(20 * LISTEN_SECONDS)
        assert host.store.revision == revision
        assert len(host.processes.spawned) > spawned + 5, "it gives up, and is started again"
        state = host.state()
        assert state is not None
        assert (state.status, state.failures) == (MixerStatus.STARVED, 0)
        host.machine.feed(state.port)
        await until(lambda: host.status() is MixerStatus.PUBLISHING, within=4)


async def test_a_full_disk_is_seen_told_and_counted() -> None:
    host = Host()
    async with daemon(host):
        await host.publishing()
        await anyio.sleep(30)
        host.machine.disk_full = True
        await until(lambda: (s := host.state()) is not None and s.failures == 1, within=5)
        await until(lambda: failing(host, 5, "disk full"), within=60)
        spawned = len(host.processes.spawned)
        await anyio.sleep(120)
        assert len(host.processes.spawned) - spawned <= 40
        host.machine.disk_full = False
        await until(lambda: host.status() is MixerStatus.PUBLISHING, within=40)


async def test_files_that_cannot_be_written_are_counted_too() -> None:
    """ENOSPC on the key files: FFmpeg is not even started."""
    host = Host()
    async with daemon(host):
        host.processes.failures = 5
        await host.wish(wish(5))
        await until(
            lambda: (
                (s := host.state()) is not None
                and (s.status, s.failures) == (MixerStatus.FAILING, 5)
            ),
            within=60,
        )
        await until(lambda: host.status() is MixerStatus.STARTING, within=40)


async def test_one_crash_after_a_long_life_says_nothing_alarming() -> None:
    host = Host()
    async with daemon(host):
        running = await host.publishing()
        await anyio.sleep(60)
        revision = host.store.revision
        host.machine.kill(running)
        await until(lambda: host.alive() not in ([], [running]), within=0.1)
        await until(lambda: host.status() is MixerStatus.STARTING)
        await until(lambda: host.status() is MixerStatus.PUBLISHING)
        state = host.state()
        assert state is not None
        assert state.failures == 1
        assert host.store.revision == revision + 2, "starting, publishing"


async def test_failures_in_a_row_are_counted_on_by_a_restarted_daemon() -> None:
    """Else one that is restarted again and again would never be left for another host."""
    host = Host()
    async with daemon(host):
        host.processes.failures = 100
        await host.wish(wish(5))
        await until(lambda: failing(host, 3, ""))
    before = host.state()
    assert before is not None
    async with daemon(host):
        host.processes.failures = 100
        await until(lambda: host.state() != before)
        after = host.state()
        assert after is not None
        assert (after.status, after.failures) == (MixerStatus.FAILING, before.failures + 1)


async def test_failures_before_it_published_are_over_for_a_restarted_daemon() -> None:
    host = Host()
    async with daemon(host):
        host.processes.failures = 3
        running = await host.publishing()
        state = host.state()
        assert state is not None
        assert state.failures == 3, "as it was last told"
        await anyio.sleep(60)
    async with daemon(host) as mixer:
        await until(lambda: bool(mixer.inventory.running(BLUE)))
        host.machine.kill(running)
        await until(lambda: failing(host, 1, ""))
        state = host.state()
        assert state is not None
        assert state.failures == 1

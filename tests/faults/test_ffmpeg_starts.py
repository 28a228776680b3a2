"""FFmpeg that cannot be started: crash loop (F7), no descriptors (F34), no ports (F35).

Tried five times with growing waits, then on another mixer; without one the room says why, and
nothing runs hot. Other rooms do not notice.
"""

import os
import resource
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import anyio
import pytest

from chaos.witness import Witness
from tests.support import proof, view
from tests.support import stack as stacks
from tests.support.breakable import Breakable
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.ffmpeg import HERE
from tests.support.hosts import MixerHost
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

FAILURES = 5
MOVED_SECONDS = 4.0 + 6.0 + view.SLACK_SECONDS  # five failures, and a start elsewhere
ALONE_SECONDS = 6.0
# Waits of at most 0.25, 0.5, 1, 2, 4, 8 s, each a random part of it: half of that on average.
STARTS_ALONE = 14
WRITES_ALONE = 40


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Breakable:
    return Breakable(tmp_path / "breakable")


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str, ffmpeg: Breakable
) -> AsyncGenerator[Stack]:
    settings = {"ONAIR_MIXER_FFMPEG": str(ffmpeg.path)}
    async with stacks.running(
        tmp_path, etcd_url, etcd_namespace, mixers=2, settings=settings
    ) as running:
        yield running


def other_than(stack: Stack, mixer: MixerHost) -> MixerHost:
    return next(other for other in stack.mixers if other is not mixer)


async def fails_over(stack: Stack, room: str, left: MixerHost, *words: str) -> None:
    """From that mixer to the other one, with the reason."""
    began = anyio.current_time()
    with anyio.fail_after(MOVED_SECONDS):
        while await stack.mixer_of(room) is left:
            await anyio.sleep(0.05)
    took = anyio.current_time() - began
    moved = (await stack.live(room)).moved or ""
    assert all(word in moved for word in (f"failed {FAILURES} times", *words)), moved
    on_air = await view.told(stack, room, "onair")
    print(f"\n{room}: moved after {took:.1f} s, on air {on_air:.1f} s later: {moved}")


async def test_a_crash_loop_moves_and_without_another_mixer_says_why(
    stack: Stack, ffmpeg: Breakable
) -> None:
    witness = await view.on_air(stack, "blue", "red")
    async with proof.player(stack, "blue") as player, witness.watching():
        broken, moment = await stack.mixer_of("blue"), player.now()
        others = stack.ffmpegs()["red"]
        ffmpeg.break_at(broken.module_id)
        before = ffmpeg.starts_at(broken.module_id)
        broken.kill_ffmpeg("blue")
        await fails_over(stack, "blue", broken, "FFmpeg ended")
        await witness.settles()
        assert FAILURES - 1 <= ffmpeg.starts_at(broken.module_id) - before <= FAILURES + 2
        print("F7 audio lost", await view.loses(player, moment, MOVED_SECONDS))
        await _alone(stack, ffmpeg, witness)
        assert player.report(moment).wrong == []
    assert witness.findings == []
    assert stack.ffmpegs()["red"] == others


async def _alone(stack: Stack, ffmpeg: Breakable, witness: Witness) -> None:
    """No other mixer: it goes on trying, ever more rarely, and comes back by itself."""
    last = await stack.mixer_of("blue")
    await view.mark(stack, "mixer", other_than(stack, last).module_id, "disabled")
    ffmpeg.break_at(last.module_id)
    before, revision = ffmpeg.starts_at(last.module_id), await revision_of(stack)
    last.kill_ffmpeg("blue")
    told = await view.told(stack, "blue", "degraded", "cannot keep FFmpeg running", "FFmpeg ended")
    await anyio.sleep(ALONE_SECONDS)
    starts = ffmpeg.starts_at(last.module_id) - before
    writes = await revision_of(stack) - revision
    print(f"F7 alone: told after {told:.1f} s, {starts} starts and {writes} writes")
    assert starts <= STARTS_ALONE
    assert writes <= WRITES_ALONE
    await view.told(stack, "blue", "degraded", "cannot keep FFmpeg running", "FFmpeg ended")
    ffmpeg.mend_at(last.module_id)
    print(f"F7 mended: on air after {await view.told(stack, 'blue', 'onair'):.1f} s")
    assert await stack.mixer_of("blue") is last
    await witness.settles()


async def revision_of(stack: Stack) -> int:
    return (await stack.etcd.range("/")).revision


@contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """EMFILE for whatever the process opens while the body runs."""
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), old[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


@contextmanager
def taken(ports: Iterable[int]) -> Iterator[None]:
    """By a stranger."""
    with ExitStack() as held:
        for port in ports:
            held.enter_context(closing(socket(AF_INET, SOCK_DGRAM))).bind((HERE, port))
        yield


async def test_what_a_mixer_runs_out_of_costs_it_its_rooms_only_if_it_must(stack: Stack) -> None:
    witness = await view.on_air(stack, "blue")
    async with proof.player(stack, "blue") as player, witness.watching():
        moment = player.now()
        await _port_lost(stack)
        await witness.settles()
        print("F35 audio lost", await view.loses(player, moment, MOVED_SECONDS))
        poor, moment = await stack.mixer_of("blue"), player.now()
        with no_more_files(poor.pid):
            poor.kill_ffmpeg("blue")
            await fails_over(stack, "blue", poor, "Too many open files")
        await witness.settles()
        print("F34 audio lost", await view.loses(player, moment, MOVED_SECONDS))
        poor.assert_alive()
        await _no_ports(stack, witness, poor)
    assert witness.findings == []


async def _port_lost(stack: Stack) -> None:
    """A stranger takes the port of an FFmpeg that has died: it gets another, Janus is told."""
    mixer, before = await stack.mixer_of("blue"), await view.observed(stack, "blue", "mixer")
    port = before["port"]
    with ExitStack() as stranger:
        mixer.pause()
        try:
            mixer.kill_ffmpeg("blue")
            await until(lambda: unbound(stack, port))
            stranger.enter_context(taken([port, port + 1]))
        finally:
            mixer.resume()
        await until(lambda: has_another(stack, port))
        print(f"\nF35 port taken: on air after {await view.told(stack, 'blue', 'onair'):.1f} s")
    assert await stack.mixer_of("blue") is mixer


async def unbound(stack: Stack, port: int) -> bool:
    return port not in stack.bound_ports()


async def has_another(stack: Stack, port: int) -> bool:
    return bool((await view.observed(stack, "blue", "mixer"))["port"] != port)


async def _no_ports(stack: Stack, witness: Witness, mixer: MixerHost) -> None:
    """All of a mixer's ports are a stranger's: it says `busy`, and its new room goes elsewhere."""
    other = other_than(stack, mixer).module_id
    await view.mark(stack, "mixer", other, "disabled")
    await stack.create("red")
    witness.ledger.answered("red", "create", 201)
    with taken(mixer.place.rtp_ports):
        await stack.call("POST", "/rooms/red/start")
        witness.ledger.answered("red", "start", 200)
        await view.told(
            stack, "red", "starting", "cannot keep FFmpeg running", "port pairs is free"
        )
        await view.module_is(stack, mixer.module_id, "busy", "no RTP port pair is free")
        await view.mark(stack, "mixer", other, "ready")
        await fails_over(stack, "red", mixer, "port pairs is free")
    await witness.settles()

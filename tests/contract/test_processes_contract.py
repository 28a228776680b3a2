"""What every ``Processes`` must do: fake (virtual time) and real FFmpeg (marked ``ffmpeg``)."""

import os
import signal
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
import pytest
import trio.testing

from mixer.api import Folders, Mix, Processes, Running
from mixer.driver import FfmpegProcesses
from mixer.files import Layout
from mixer.health import UNREAD_BYTES, pulse
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.fake_processes import FakeProcesses, Machine
from tests.support.ffmpeg import HERE, end_all, free_port
from tests.support.rtp import tone

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30.0

# Found by its marker among all of this machine: several test processes may run at once.
MIXER, OTHER = ModuleId(f"m{os.getpid()}"), ModuleId(f"n{os.getpid()}")
BLUE, EPOCH = RoomId("blue"), Epoch(7)


class Both(Processes, Folders, Protocol): ...


@dataclass
class Rig:
    """One host: ``daemon(id)`` starts a mixer on it, the rest is what others do to it.

    ``exec`` waits until a process is what it was spawned to be: strangers cannot tell before.
    """

    daemon: Callable[[ModuleId], Both]
    feed: Callable[[int], AbstractContextManager[None]]
    signal: Callable[[Running, signal.Signals], None]
    exec: Callable[[Running], Awaitable[None]]
    port: int
    at_once: float  # seconds: measured in virtual time; a real machine may have much to do

    def mix(self, room_id: RoomId = BLUE, port: int | None = None) -> Mix:
        return Mix(room_id, EPOCH, port or self.port, "n1", b"k" * 16)


def fake_rig() -> Rig:
    machine = Machine()

    @contextmanager
    def feed(port: int) -> Generator[None]:
        machine.feed(port)
        try:
            yield
        finally:
            machine.starve(port)

    def send(running: Running, number: signal.Signals) -> None:
        machine.kill(running) if number is signal.SIGKILL else machine.pause(running)

    async def there(_: Running) -> None: ...

    return Rig(lambda mixer: FakeProcesses(mixer, machine), feed, send, there, 30000, at_once=1.0)


def real_rig(folder: Path) -> Rig:
    layout = Layout(folder / "media", folder / "run")
    return Rig(
        daemon=lambda mixer: FfmpegProcesses(mixer, layout, HERE),
        feed=lambda port: tone(HERE, port),
        signal=lambda running, number: os.kill(running.pid, number),
        exec=_is_ffmpeg,
        port=free_port(),
        at_once=PATIENCE_SECONDS,
    )


async def _is_ffmpeg(running: Running) -> None:
    """prlimit and setpriv replace themselves; in between nobody can read the environment."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while _name(running.pid) != "ffmpeg\n":
            await anyio.sleep(0.01)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.ffmpeg)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> object:
    if kind == "real":
        return ("asyncio", {"use_uvloop": True})
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.fixture
def rig(kind: str, tmp_path: Path) -> Iterator[Rig]:
    if kind == "fake":
        yield fake_rig()
        return
    try:
        yield real_rig(tmp_path)
    finally:
        end_all(tmp_path / "run")


async def first_segment(processes: Processes, running: Running) -> int:
    with anyio.fail_after(PATIENCE_SECONDS):
        while (newest := processes.look(running).newest) is None:
            await anyio.sleep(0.05)
    return newest.sequence


async def test_what_is_spawned_is_listed_until_it_is_stopped(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    running = await mixer.spawn(rig.mix())
    assert (running.room_id, running.epoch, running.port) == (BLUE, EPOCH, rig.port)
    assert await mixer.list_running() == [running]
    assert mixer.look(running).alive
    await mixer.stop(running)
    assert await mixer.list_running() == []
    assert mixer.bindable(rig.port)
    await mixer.stop(running)


async def test_the_second_on_a_port_ends_by_itself_and_the_first_goes_on(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    first = await mixer.spawn(rig.mix())
    with anyio.fail_after(PATIENCE_SECONDS):
        while mixer.bindable(rig.port):
            await anyio.sleep(0.01)
    second = await mixer.spawn(rig.mix(RoomId("red")))
    with anyio.fail_after(PATIENCE_SECONDS):
        await mixer.exited(second)
    assert await mixer.list_running() == [first]
    assert mixer.look(second).last_words == "bind failed: Address already in use"


async def test_a_restarted_mixer_adopts_and_others_see_nothing(rig: Rig) -> None:
    running = await rig.daemon(MIXER).spawn(rig.mix())
    await rig.exec(running)
    successor = rig.daemon(MIXER)
    assert await successor.list_running() == [running]
    assert await rig.daemon(OTHER).list_running() == []
    await successor.stop(running)
    assert await successor.list_running() == []


async def test_a_killed_one_is_noticed_at_once(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    running = await mixer.spawn(rig.mix())
    rig.signal(running, signal.SIGKILL)
    with anyio.fail_after(rig.at_once):
        await mixer.exited(running)
    assert not mixer.look(running).alive
    assert await mixer.list_running() == []


async def test_sound_becomes_segments_and_numbers_go_on_after_a_crash(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    with rig.feed(rig.port):
        running = await mixer.spawn(rig.mix())
        before = await first_segment(mixer, running)
        assert before == 7 * 2**20
        rig.signal(running, signal.SIGKILL)
        await mixer.exited(running)
        again = await mixer.spawn(rig.mix())
        assert again.after == before
        assert mixer.look(again).newest is None, "the predecessor's segments are not its own"
        assert mixer.look(again).seams == 0, "it has published nothing yet"
        assert await first_segment(mixer, again) == before + 1
        assert pulse(None, mixer.look(again), 0.0).sequence == before + 1
        assert mixer.look(again).seams == 1


async def test_a_starved_one_stops_at_once_too(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    with rig.feed(rig.port):
        running = await mixer.spawn(rig.mix())
        await first_segment(mixer, running)
    with anyio.fail_after(rig.at_once):
        await mixer.stop(running)


async def test_a_paused_one_is_told_apart_and_stopped_in_bounded_time(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    running = await mixer.spawn(rig.mix())
    rig.signal(running, signal.SIGSTOP)
    with anyio.fail_after(rig.at_once):
        while not mixer.look(running).paused:
            await anyio.sleep(0.01)
    with anyio.fail_after(rig.at_once):
        await mixer.stop(running)
    assert await mixer.list_running() == []


async def test_rtp_that_nobody_reads_tells_a_stuck_one_from_a_starved_one(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    with rig.feed(rig.port):
        running = await mixer.spawn(rig.mix())
        await first_segment(mixer, running)
        assert mixer.unread(running) < UNREAD_BYTES
        rig.signal(running, signal.SIGSTOP)
        with anyio.fail_after(PATIENCE_SECONDS):
            while mixer.unread(running) < UNREAD_BYTES:
                await anyio.sleep(0.01)
    await mixer.stop(running)
    starved = await mixer.spawn(rig.mix())
    assert mixer.unread(starved) == 0
    await mixer.stop(starved)


async def test_folders_stay_until_they_are_removed(rig: Rig) -> None:
    mixer = rig.daemon(MIXER)
    running = await mixer.spawn(rig.mix())
    await mixer.stop(running)
    await mixer.trim(BLUE, EPOCH)
    await mixer.forget_key(BLUE, EPOCH)
    assert await mixer.list_folders() == [(BLUE, EPOCH)]
    await mixer.remove(BLUE, EPOCH)
    await mixer.remove(BLUE, EPOCH)
    assert await mixer.list_folders() == []

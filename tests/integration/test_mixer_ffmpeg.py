"""A tone goes in as RTP, and comes out as encrypted HLS that a player can decode (real FFmpeg)."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import av
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.tone import peak
from mixer import files
from mixer.api import Mix, Running
from mixer.driver import FfmpegProcesses
from mixer.files import Layout
from mixer.playlist import segments
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.ffmpeg import HERE, end_all, free_port
from tests.support.rtp import tone

pytestmark = [pytest.mark.anyio, pytest.mark.ffmpeg]

# Found by its marker among all of this machine: several test processes may run at once.
MIXER = ModuleId(f"m{os.getpid()}")
ROOM, EPOCH, KEY = RoomId("blue"), Epoch(123_456_789), b"0123456789abcdef"
PATIENCE_SECONDS = 30.0
SOON_SECONDS = 6.5  # 2.15 s alone on the machine; FFmpeg that probes its input for 5 s takes 7 s
SEGMENT_SECONDS = 0.5  # the tests' own patience; production has 2 s


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    yield Layout(tmp_path / "media", tmp_path / "run")
    end_all(tmp_path / "run")


def driver(layout: Layout, segment_seconds: float = SEGMENT_SECONDS) -> FfmpegProcesses:
    return FfmpegProcesses(MIXER, layout, HERE, segment_seconds=segment_seconds)


def mix(port: int) -> Mix:
    return Mix(ROOM, EPOCH, port, "n1", KEY)


async def listed(layout: Layout, count: int, within: float = PATIENCE_SECONDS) -> str:
    """The playlist, once it lists so many segments."""
    with anyio.fail_after(within):
        while True:
            text = files.read_playlist(layout, ROOM, EPOCH) or ""
            if len(list(segments(text))) >= count:
                return text
            await anyio.sleep(0.01)


def decrypt(layout: Layout, name: str, sequence: int) -> bytes:
    """AES-128-CBC with the key of the room and the IV that FFmpeg announced (RFC 8216 §4.3.2.4)."""
    vector = sequence.to_bytes(16, "big")
    text = files.read_playlist(layout, ROOM, EPOCH) or ""
    assert f"IV=0x{vector.hex()}" in text
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(vector)).decryptor()
    plain = cipher.update((layout.folder(ROOM, EPOCH) / name).read_bytes()) + cipher.finalize()
    return plain[: -plain[-1]]


def decode(transport_stream: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(transport_stream), format="mpegts") as source:
        frames = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
        return np.concatenate(frames), source.streams.audio[0].rate


async def test_a_listener_with_the_key_hears_the_tone(layout: Layout) -> None:
    port, mixer = free_port(), driver(layout)
    with tone(HERE, port, hertz=440):
        running = await mixer.spawn(mix(port))
        text = await listed(layout, 3)
    await mixer.stop(running)
    third = list(segments(text))[2]
    assert third.sequence == EPOCH * 2**20 + 2
    assert third.name == f"s_{EPOCH}_{third.sequence}.ts"
    assert 'METHOD=AES-128,URI="../../api/rooms/blue/key?nonce=n1"' in text
    assert "#EXT-X-ENDLIST" not in text
    hertz, level = peak(*decode(decrypt(layout, third.name, third.sequence)))
    assert abs(hertz - 440) < 5
    assert level > -30


async def test_the_first_segment_is_listed_soon_after_the_start(layout: Layout) -> None:
    port, mixer = free_port(), driver(layout, segment_seconds=2.0)
    with tone(HERE, port):
        began = time.monotonic()  # noqa: TID251 - measures the real thing
        running = await mixer.spawn(mix(port))
        await listed(layout, 1)
        took = time.monotonic() - began  # noqa: TID251
    await mixer.stop(running)
    assert took < SOON_SECONDS


async def test_numbers_go_on_over_a_crash_even_with_the_playlist_lost(layout: Layout) -> None:
    port, mixer = free_port(), driver(layout)
    seen: list[int] = []
    with tone(HERE, port):
        for lost in (False, True, False):
            running = await mixer.spawn(mix(port))
            with anyio.fail_after(PATIENCE_SECONDS):
                while (found := mixer.look(running).newest) is None:
                    await anyio.sleep(0.02)
            seen.append(found.sequence)
            os.kill(running.pid, signal.SIGKILL)
            await mixer.exited(running)
            if lost:
                os.truncate(layout.playlist(ROOM, EPOCH), 0)
    assert seen == sorted(set(seen)), "I12: never back, never twice"
    assert seen[0] >= EPOCH * 2**20


async def test_the_key_is_nowhere_but_in_its_own_file(layout: Layout) -> None:
    port, mixer = free_port(), driver(layout)
    with tone(HERE, port):
        running = await mixer.spawn(mix(port))
        await listed(layout, 1)
        secret = layout.private(ROOM, EPOCH)
        for name in ("cmdline", "environ"):
            assert not _holds_key(_proc(running, name))
        holders = {p for p in layout.media.parent.rglob("*") if p.is_file() and _holds(p)}
    await mixer.stop(running)
    assert holders == {secret / "key"}
    assert secret.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in secret.iterdir()} == {0o600}
    await mixer.forget_key(ROOM, EPOCH)
    assert not secret.exists()


def _holds(path: Path) -> bool:
    try:
        return _holds_key(path.read_bytes())
    except FileNotFoundError:  # a temporary file, renamed meanwhile
        return False


def _holds_key(content: bytes) -> bool:
    return KEY in content or KEY.hex().encode() in content


async def test_stopping_twice_at_once_leaves_a_whole_playlist_and_nothing_running(
    layout: Layout,
) -> None:
    port, mixer = free_port(), driver(layout)
    with tone(HERE, port):
        running = await mixer.spawn(mix(port))
        await listed(layout, 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mixer.stop, running)
            tasks.start_soon(driver(layout).stop, running)
    assert await mixer.list_running() == []
    assert mixer.bindable(port)
    assert len(list(segments(files.read_playlist(layout, ROOM, EPOCH) or ""))) >= 2
    await mixer.remove(ROOM, EPOCH)
    assert list(layout.media.iterdir()) == list(layout.run.iterdir()) == []


async def test_it_runs_confined_and_alone(layout: Layout) -> None:
    mixer = driver(layout)
    running = await mixer.spawn(mix(free_port()))
    with anyio.fail_after(PATIENCE_SECONDS):
        while _proc(running, "comm") != b"ffmpeg\n":  # prlimit and setpriv replace themselves
            await anyio.sleep(0.01)
    status, limits = _proc(running, "status"), _proc(running, "limits")
    inputs = Path(os.readlink(f"/proc/{running.pid}/fd/0"))
    assert os.getsid(running.pid) == running.pid
    await mixer.stop(running)
    assert b"NoNewPrivs:\t1" in status
    assert b"Max file size             16777216" in limits
    assert inputs == Path("/dev/null")


def _proc(running: Running, name: str) -> bytes:
    return Path(f"/proc/{running.pid}/{name}").read_bytes()


async def test_it_outlives_the_process_that_started_it(layout: Layout) -> None:
    port = free_port()
    script = (
        "import anyio, sys; from pathlib import Path\n"
        "from mixer.api import Mix; from mixer.driver import FfmpegProcesses\n"
        "from mixer.files import Layout\n"
        f"layout = Layout(Path({str(layout.media)!r}), Path({str(layout.run)!r}))\n"
        f"mix = Mix({ROOM!r}, {EPOCH}, {port}, 'n1', {KEY!r})\n"
        f"anyio.run(FfmpegProcesses({MIXER!r}, layout, {HERE!r}, segment_seconds=0.5).spawn, mix)\n"
    )
    with tone(HERE, port):
        await anyio.run_process([sys.executable, "-c", script], stderr=subprocess.STDOUT)
        await listed(layout, 2)
        mixer = driver(layout)
        (running,) = await mixer.list_running()
        assert mixer.look(running).newest is not None
        await mixer.stop(running)
    assert await mixer.list_running() == []

"""The media disk of one mixer is full: F32. Its room goes to the other one, and says why.

A full disk needs a file system of its own, which only root may mount: it is made small while it
is in use, so that nothing need be written to fill it.
"""

import os
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.support import proof, view
from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system to fill"),
]

ROOMY, FULL = "size=300m", "size=64k"
# From an FFmpeg that goes on, from one that cannot be started, from the mixer itself.
FULL_WORDS = ("is the disk full?", "No space left on device", "less than 20 MiB free")
NOTICED_SECONDS = 6.0 + view.SLACK_SECONDS  # three segments
MOVED_SECONDS = 5.0 + 6.0 + view.SLACK_SECONDS  # ill for five seconds, and a start elsewhere


class Disk:
    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        folder.mkdir(parents=True)
        self._run("mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", self._folder)

    def resize(self, size: str) -> None:
        self._run("mount", "-o", f"remount,{size}", self._folder)

    def unmount(self) -> None:
        """Whatever still uses it."""
        self._run("umount", "--lazy", self._folder)

    @staticmethod
    def _run(*line: str) -> None:
        subprocess.run(line, check=True, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Of the stack's first mixer."""
    disk = Disk(tmp_path / "media")
    try:
        yield disk
    finally:
        disk.unmount()


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str, disk: Disk
) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace, mixers=2) as running:
        yield running


async def placed(stack: Stack) -> tuple[str, str]:
    """A room on the first mixer, and one on the second."""
    on_first = await stack.mixer_of("blue") is stack.mixer
    return ("blue", "red") if on_first else ("red", "blue")


async def test_a_full_disk_is_noticed_said_and_left(stack: Stack, disk: Disk) -> None:
    witness = await view.on_air(stack, "blue", "red")
    room, other = await placed(stack)
    unharmed = stack.ffmpegs()[other]
    async with proof.player(stack, room) as player, witness.watching():
        moment = player.now()
        await anyio.to_thread.run_sync(disk.resize, FULL)
        seconds = await view.told(stack, room, "degraded", within=NOTICED_SECONDS)
        why = (await stack.call("GET", f"/rooms/{room}/explain"))["reason"]
        assert any(word in why for word in FULL_WORDS), why
        print(f"\nF32 disk full: told after {seconds:.1f} s: {why}")
        await view.module_is(stack, stack.mixer.module_id, "unhealthy", "less than 20 MiB free")
        await view.told(stack, room, "onair")
        moved = (await stack.live(room)).moved or ""
        print(f"F32 on air elsewhere after {anyio.current_time() - moment.loop:.1f} s: {moved}")
        assert await stack.mixer_of(room) is not stack.mixer
        print("F32 audio lost", await view.loses(player, moment, MOVED_SECONDS))
        await anyio.to_thread.run_sync(disk.resize, ROOMY)
        await stack.ready()
        await witness.settles()
    assert witness.findings == []
    assert stack.ffmpegs()[other] == unharmed

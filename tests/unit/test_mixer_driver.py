"""Listing processes while others are started and reaped: each is done in a thread of its own."""

import os
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mixer import process
from mixer.api import Running
from mixer.driver import FfmpegProcesses
from mixer.files import Layout
from pkg.model import Epoch, ModuleId, RoomId

pytestmark = pytest.mark.anyio

LISTINGS = 30


@pytest.fixture
def anyio_backend() -> str:
    """Threads take real time."""
    return "asyncio"


async def test_children_may_come_and_go_while_they_are_listed(tmp_path: Path) -> None:
    """It ended the whole mixer."""
    processes = FfmpegProcesses(ModuleId("m1"), Layout(tmp_path, tmp_path), "127.0.0.1")
    found = process.seen(os.getpid())
    assert found is not None
    ours = Running(RoomId("blue"), Epoch(1), 5004, found.pid, found.started)
    children = processes._children
    listing = True

    def spawn_and_reap() -> None:
        number = 10**9
        while listing:
            children[number] = ours
            children.pop(number - 9, None)
            number += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, spawn_and_reap)
        try:
            for _ in range(LISTINGS):
                assert {*await processes.list_running()} <= {ours}
        finally:
            listing = False

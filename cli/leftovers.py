"""Processes that belong to a state dir but to no live ``up``: found by a mark, then ended.

The mark is a variable in the environment that each part gets and its children inherit. It beats
a list of pids: it cannot be lost between spawn and write, nor be mistaken after a pid is used
again. FFmpeg is found by it, or by its own marker (ONAIR_MIXER) and a path in the state dir.
"""

import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import anyio
import psutil

MARK = "ONAIR_STATE_DIR_OF_UP"
FFMPEG_MARK = "ONAIR_MIXER"
POLL_SECONDS = 0.05


def find(state_dir: Path, *, besides: Collection[int] = ()) -> list[psutil.Process]:
    """Live processes of this state dir, other than the pids in ``besides``, us and our parents."""
    ours = {os.getpid(), *besides, *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in ours and _belongs(process, str(state_dir)) and _alive(process)
    ]


async def end(processes: Sequence[psutil.Process], *, grace_seconds: float) -> None:
    """One SIGTERM each (a second one would truncate FFmpeg's playlist), then SIGKILL."""
    _signal(processes, signal.SIGTERM)
    with anyio.move_on_after(grace_seconds):
        await _gone(processes)
        return
    _signal(processes, signal.SIGKILL)
    with anyio.move_on_after(grace_seconds):
        await _gone(processes)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)  # psutil compares the start time: never a stranger
        except psutil.NoSuchProcess:
            continue


async def _gone(processes: Sequence[psutil.Process]) -> None:
    # polled: they are not our children, so that nobody tells us
    while any(_alive(process) for process in processes):  # noqa: ASYNC110
        await anyio.sleep(POLL_SECONDS)


def _alive(process: psutil.Process) -> bool:
    """A zombie counts as dead: in a container nobody may ever reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, state_dir: str) -> bool:
    try:
        environment = process.environ()
        if environment.get(MARK) == state_dir:
            return True
        return FFMPEG_MARK in environment and any(
            text.startswith(state_dir + "/")
            for text in (*environment.values(), *process.cmdline(), process.cwd())
        )
    except (psutil.Error, OSError):
        return False  # gone meanwhile, or another user's

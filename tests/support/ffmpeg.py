"""What tests with a real FFmpeg need: a free port pair, and nothing left behind."""

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from mixer import process
from mixer.driver import is_bindable

HERE = "127.0.0.1"


def free_port() -> int:
    """An even UDP port that is free with its odd neighbour, found by the kernel."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HERE, 0))
            port = int(probe.getsockname()[1]) & ~1
        if is_bindable(HERE, port) and is_bindable(HERE, port + 1):
            return port


def end_all(run: Path) -> None:
    """Kill what a failed test left: our children that were started inside its folder."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and _is_in(int(entry.name), run):
            os.kill(int(entry.name), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(entry.name), 0)


def _is_in(pid: int, folder: Path) -> bool:
    try:
        started_in = Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return False
    return started_in.is_relative_to(folder) and process.seen(pid) is not None

"""SIGSTOP that has surely taken effect: it reaches a process's threads one by one."""

import os
import signal
import time
from pathlib import Path


def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    while any(b") T " not in (thread / "stat").read_bytes() for thread in threads.iterdir()):
        time.sleep(0.005)

"""`python -m streams` as a process of its own, to be killed."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


@dataclass
class Process:
    url: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """What a power cut is to a process: nothing of it runs any more."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    data_dir: Path,
    log: Path,
    *flags: str,
    module: str = "streams",
    tls: ssl.SSLContext | None = None,
) -> Generator[Process]:
    """Entered once it answers, with ``tls`` over HTTPS; killed at the end if it still runs."""
    port = free_port()
    argv = ["-m", module, "--data-dir", str(data_dir), "--port", str(port), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, *argv], stderr=file, env=environment)
    found = Process(f"{'https' if tls else 'http'}://127.0.0.1:{port}", process)
    try:
        _wait_until_ready(found, log, tls)
        yield found
    finally:
        found.kill()


def _wait_until_ready(found: Process, log: Path, tls: ssl.SSLContext | None) -> None:
    with httpx.Client(verify=tls or False, trust_env=False) as http:
        for _ in range(START_SECONDS * 10):
            if found.process.poll() is not None:
                raise AssertionError(f"the server ended: {log.read_text()}")
            try:
                if http.get(f"{found.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                found.process.poll()
            _pause(found)
    raise AssertionError("the server does not answer")


def _pause(found: Process) -> None:
    try:
        found.process.wait(0.1)
    except subprocess.TimeoutExpired:
        return

"""`python -m streams` as a process of its own, to be killed and started again."""

import os
import ssl
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.tcp import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Process:
    """``kill`` and ``start`` keep its data and its port. ``url`` is the server's, ``streams`` what
    the names of streams are under."""

    def __init__(
        self,
        data_dir: Path,
        log: Path,
        *flags: str,
        module: str = "streams",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        port = free_port()
        self._argv = ["-m", module, "--data-dir", str(data_dir), "--port", str(port), *flags]
        self._log = log
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self.streams = f"{self.url}/v1/stream"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "it is killed"
        return self._process

    def start(self) -> None:
        """Returns once it answers, with ``tls`` over HTTPS."""
        self._process = spawned(self._argv, self._log)
        with httpx.Client(verify=self._tls or False, trust_env=False) as http:
            for _ in range(START_SECONDS * 10):
                assert self._process.poll() is None, f"the server ended: {self._log.read_text()}"
                if _answers(http, self.url):
                    return
                _pause(self._process)
        raise AssertionError(f"the server does not answer: {self._log.read_text()}")

    def kill(self) -> None:
        """What a power cut is to a process: nothing of it runs any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def spawned(argv: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """It ends with us."""
    with log.open("ab") as file:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", *argv],
            stdin=subprocess.DEVNULL,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


@contextmanager
def running(
    data_dir: Path,
    log: Path,
    *flags: str,
    module: str = "streams",
    tls: ssl.SSLContext | None = None,
) -> Generator[Process]:
    """Entered once it answers; killed at the end if it still runs."""
    found = Process(data_dir, log, *flags, module=module, tls=tls)
    try:
        found.start()
        yield found
    finally:
        found.kill()


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _pause(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return

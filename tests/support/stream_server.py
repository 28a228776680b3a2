"""`python -m streams` on a port of its own, to be killed and started again."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from tests.support.tcp import free_port

ROOT = Path(os.environ.get("ONAIR_TEST_STREAMS_ROOT") or Path(__file__).parents[2])
START_SECONDS = 60.0
needs_server = pytest.mark.skipif(
    importlib.util.find_spec("streams") is None and not (ROOT / "streams" / "__main__.py").exists(),
    reason="the stream server is not on this branch: set ONAIR_TEST_STREAMS_ROOT to where it is",
)


class StreamServerProcess:
    """Ready on entering; killed on leaving. ``kill`` and ``start`` keep its data and its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1/stream"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "streams.log"
        flags = ["--data-dir", str(self._folder / "data"), "--port", str(self.port)]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", "-m", "streams", *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environ,
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, reaped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            httpx.head(f"{self.url}/nobody", timeout=1, trust_env=False)
        except httpx.HTTPError:
            return False
        return True

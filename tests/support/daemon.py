"""A daemon of ours as a real process, for tests: started, killed, restarted, its log kept.

The kernel ends it if the test process dies, however that happens.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.statedir import ROOT
from tests.support.freeze import freeze

TAIL_BYTES = 6000


class Daemon:
    """``module`` is what ``python -m`` runs. ``env`` stands beside the caller's environment."""

    def __init__(self, name: str, module: str, env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self._argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", "-m", module]
        others = {k: v for k, v in os.environ.items() if not k.startswith("ONAIR_")}
        self.seen_path = folder / f"{name}.seen"
        seen = {"ONAIR_ETCD_SEEN_FILE": str(self.seen_path)}
        self._env = {**others, **seen, **env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._folder,
                start_new_session=True,
            )

    def through(self, launcher: str, env: Mapping[str, str]) -> None:
        """From the next start on ``python -m launcher`` runs it, with these variables besides."""
        self._argv[-1:] = [launcher, self._argv[-1]]
        self.reconfigure(env)

    def reconfigure(self, env: Mapping[str, str]) -> None:
        """From the next start on it is told this besides."""
        self._env |= env

    def tell(self, **env: str) -> None:
        """From the next start on with these variables instead."""
        self._env |= env

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def assert_alive(self) -> None:
        """Raises AssertionError with its last words."""
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.tail()}"

    def kill(self) -> None:
        """As a crash: SIGKILL, reaped. One that does not run is no error."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        freeze(self.pid)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def tail(self) -> str:
        text = self.log_path.read_bytes()[-TAIL_BYTES:] if self.log_path.exists() else b""
        return text.decode(errors="replace")

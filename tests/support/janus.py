"""A real Janus for tests, on loopback with free ports, configured as ``./onair up`` does."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from cli import janusconf
from cli.janusconf import JanusSettings
from janusmanager.link import Access, Limits
from tests.support.freeze import freeze
from tests.support.tcp import free_ports

STARTS_WITHIN_SECONDS = 60.0
PATIENT = Limits(deadline=60.0, ping_seconds=60.0)  # for tests of answers, not of their speed


def fresh_settings() -> JanusSettings:
    ws, admin_ws, admin_http = free_ports(3)
    media = 20_000 + secrets.randbelow(40) * 250  # below the kernel's own range
    return JanusSettings(
        admin_secret=secrets.token_hex(16),
        admin_key=secrets.token_hex(16),
        ws_port=ws,
        admin_ws_port=admin_ws,
        admin_http_port=admin_http,
        media_ports=(media, media + 249),
        log_level=3,
    )


class RealJanus:
    """One Janus process and its folder; may be killed, paused and started again."""

    def __init__(self, folder: Path, settings: JanusSettings | None = None) -> None:
        self.folder = folder
        self.settings = settings or fresh_settings()
        self.log_path = folder / "janus.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def access(self) -> Access:
        settings = self.settings
        return Access(settings.admin_ws_url, settings.admin_secret, settings.admin_key)

    def start(self, edit: dict[str, tuple[str, str]] | None = None) -> None:
        """Start and wait until all three servers listen. ``edit``: file → (old, new) text."""
        files = janusconf.render(self.settings)
        for name, (old, new) in (edit or {}).items():
            assert old in files[name]
            files[name] = files[name].replace(old, new)
        janusconf.write(self.folder, files)
        with self.log_path.open("ab") as log:
            self._process = _spawn(self.folder, log)
        for port in self._ports():
            self._wait_for(port)

    def _ports(self) -> tuple[int, int, int]:
        settings = self.settings
        return settings.ws_port, settings.admin_ws_port, settings.admin_http_port

    def _wait_for(self, port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while not _listens(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Janus did not start:\n{self.log_path.read_text()[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, reaped; also ends a paused one. One that does not run is no error."""
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


def _spawn(folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The kernel ends it with the test process; FFmpegs that it fed then end by themselves."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "janus", "-F", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _listens(port: int) -> bool:
    with closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(folder: Path) -> Iterator[RealJanus]:
    """A started Janus, killed at the end whatever happened to it."""
    janus = RealJanus(folder)
    janus.start()
    try:
        yield janus
    finally:
        janus.kill()

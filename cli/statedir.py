"""One ``up``'s folder: where everything it keeps stands, its secrets, and the lock on it.

``etcd/`` data, ``secrets/`` (0600), ``logs/``, ``janus/`` configuration, ``media/`` segments,
``run/`` what FFmpeg needs at run time, ``endpoints.json`` while everything answers, ``lock``.
"""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pkg.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / ".onair"
FOLDERS = ("etcd", "secrets", "logs", "janus", "media", "run")
SECRETS = ("api-key", "master", "janus-admin-secret", "janus-admin-key")


@dataclass(frozen=True, slots=True)
class StateDir:
    """``path`` is absolute and resolved: it also marks the processes that belong to it."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "StateDir":
        return cls(path.resolve())

    @property
    def endpoints(self) -> Path:
        return self.path / "endpoints.json"

    def log(self, part: str) -> Path:
        return self.path / "logs" / f"{part}.log"

    def secret(self, name: str) -> Path:
        return self.path / "secrets" / name

    def make(self) -> None:
        """Create what is missing, for this user only. Raises ConfigError if it cannot."""
        try:
            for folder in (self.path, *(self.path / name for name in FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in SECRETS:
                _write_once(self.secret(name), secrets.token_hex(32))
        except OSError as error:
            raise ConfigError(
                f"cannot write the state dir: {error}; choose another with --state-dir"
            ) from None


def _write_once(path: Path, value: str) -> None:
    """Never leaves half a secret behind: written aside, then renamed."""
    if path.exists():
        return
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    aside.write_text(value + "\n")
    aside.rename(path)


@contextmanager
def locked(state: StateDir) -> Generator[None]:
    """Hold the state dir alone; the file names our pid, and is gone afterwards.

    Raises ConfigError naming the pid of the ``up`` that holds it. The kernel lets go of the
    lock when its holder dies, however it dies.
    """
    path = state.path / "lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(handle, 32).decode().strip() or "unknown"
            os.close(handle)
            raise ConfigError(
                f"an up already runs on {state.path} (pid {pid}); stop it with: kill {pid}"
            ) from None
        if _is_same(handle, path):  # else: its former holder removed the file meanwhile
            break
        os.close(handle)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_same(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

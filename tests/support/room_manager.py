"""One room manager as a process, with its secrets, its log and a client of its etcd."""

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from pkg.etcd.api import Etcd
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support.tcp import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


class Daemon:
    """`python -m roommanager`, ready on entering; killed on leaving."""

    def __init__(self, folder: Path, etcd_url: str, namespace: str) -> None:
        self._folder, self._etcd_url, self.namespace = folder, etcd_url, namespace
        self.port = free_port()
        self.api_key = secrets.token_urlsafe(24)
        self.master = secrets.token_hex(32)
        self.log = folder / "room-manager.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return self.log.read_text()

    def __enter__(self) -> Self:
        return self.start()

    def restart(self, wrapper: str) -> None:
        """Start it again, as the last words of ``wrapper`` (such as ``prlimit …``)."""
        self.__exit__()
        self.start(wrapper)

    def start(self, wrapper: str = "") -> Self:
        environ = {
            "PATH": os.environ["PATH"],
            "ONAIR_ETCD_ENDPOINTS": self._etcd_url,
            "ONAIR_ETCD_PREFIX": self.namespace,
            "ONAIR_MASTER_SECRET_FILE": self._secret("master", self.master),
            "ONAIR_ROOM_MANAGER_API_KEY_FILE": self._secret("api-key", self.api_key),
            "ONAIR_ROOM_MANAGER_LISTEN": f"127.0.0.1:{self.port}",
            "ONAIR_LOG_LEVEL": "debug",
            "ONAIR_LOG_FORMAT": "json",
        }
        argv = ["setpriv", "--pdeathsig", "KILL", *wrapper.split()]
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [*argv, sys.executable, "-m", "roommanager"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=ROOT,
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < give_up, self.said
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @asynccontextmanager
    async def etcd(self) -> AsyncGenerator[Etcd]:
        client = EtcdClient(EtcdOptions(endpoints=(self._etcd_url,), namespace=self.namespace))
        try:
            yield client
        finally:
            await client.aclose()

    def _secret(self, name: str, value: str) -> str:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(value)
        return str(path)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

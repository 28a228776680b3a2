"""A real room manager on the shared real etcd, for bad input: real sockets, real time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.room_manager import Daemon

__all__ = ["etcd_namespace", "etcd_url"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def daemon(tmp_path: Path, etcd_url: str, etcd_namespace: str) -> Iterator[Daemon]:
    with Daemon(tmp_path, etcd_url, etcd_namespace) as running:
        yield running

"""Fixtures of the end-to-end tests: a whole Onair each."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack

__all__ = ["etcd_namespace", "etcd_url"]


@pytest.fixture
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@pytest.fixture
async def stack(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    tmp_path: Path,
    etcd_url: str,
    etcd_namespace: str,
) -> AsyncGenerator[Stack]:
    """With one room manager, or with as many as an indirect parameter says."""
    managers = getattr(request, "param", 1)
    async with stacks.running(
        tmp_path, etcd_url, etcd_namespace, room_managers=managers
    ) as running:
        yield running

"""Fixtures of the fault tests: a stack of two of everything."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support import stack as stacks
from tests.support.stack import Stack


@pytest.fixture
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    """Two machines, two room managers, an etcd of its own that may be killed."""
    async with stacks.running(
        tmp_path, "", "/faults", room_managers=2, mixers=2, januses=2, etcds=1
    ) as running:
        yield running

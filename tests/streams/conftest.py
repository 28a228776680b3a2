"""Real sockets and real disks: these tests run on asyncio, in real time."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

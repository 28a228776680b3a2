"""One stack of two machines for all crash tests of a worker: each leaves nothing behind."""

from collections.abc import AsyncGenerator
from pathlib import Path
from secrets import token_hex

import pytest

from tests.crash.stage import Stage, stage
from tests.support import stack as stacks
from tests.support.etcd import etcd_url

__all__ = ["etcd_url"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@pytest.fixture(scope="module")
async def crashing(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, etcd_url: str
) -> AsyncGenerator[Stage]:
    folder: Path = tmp_path_factory.mktemp("crash")
    async with (
        stacks.running(folder, etcd_url, f"/crash-{token_hex(4)}", mixers=2, januses=2) as stack,
        stage(stack, folder) as made,
    ):
        yield made

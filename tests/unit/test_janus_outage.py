"""A Janus that is away is tried again and again, and told of once."""

import random
from contextlib import aclosing

import anyio
import pytest
from structlog.testing import capture_logs

from janusmanager.driver import JanusDriver
from janusmanager.link import Access
from pkg.lifecycle import background
from pkg.model import ModuleId

pytestmark = pytest.mark.anyio

TRIES = 4


@pytest.fixture
def anyio_backend() -> str:
    """The driver's link is asyncio's."""
    return "asyncio"


async def test_an_outage_is_one_warning_not_one_a_try() -> None:
    access = Access("ws://127.0.0.1:9/", "admin-secret", "admin-key")  # nobody listens there
    driver = JanusDriver(access, ModuleId("j1"), random.Random(1))
    sent, tries = anyio.create_memory_object_stream[None](100)
    driver.on_change(lambda: sent.send_nowait(None))
    with capture_logs() as logs, anyio.fail_after(60):
        async with aclosing(sent), aclosing(tries), background(driver.run):
            for _ in range(TRIES):
                await tries.receive()
    told = [entry for entry in logs if entry["event"] == "janus.disconnected"]
    assert len(told) == 1
    assert "cannot be reached" in told[0]["reason"]

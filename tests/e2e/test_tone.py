"""`./onair tone`: what a newcomer does to hear something, on a real `up`."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.support.listener import Listener
from tests.support.up import Running, Starter

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    starter = Starter(tmp_path)
    try:
        yield starter.up()
    finally:
        starter.end()


async def test_the_test_tone_is_heard_and_over_when_it_is_over(up: Running) -> None:
    with pytest.raises(AssertionError, match="blue is not in a Janus yet"):
        up.shell("./onair rooms create blue && ./onair tone blue")
    up.shell("./onair rooms start blue --wait 60")
    async with httpx.AsyncClient(trust_env=False) as client:
        listener = Listener(client, f"{up.endpoints['api']}/hls/blue/live.m3u8")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, up.shell, "./onair tone blue --seconds 8")
            heard = await listener.tone(440.0)
        assert heard.peak[1] > -30
        await listener.silence()

"""kill -9 under writers, readers, forks, closes and deletes: what was acknowledged is there.

``ONAIR_TEST_STREAMS_KILLS`` sets how often (default 3), ``ONAIR_TEST_SEED`` repeats the choices.
"""

import os
import random
from pathlib import Path

import anyio
import httpx
import pytest

from streams.store import check
from tests.streams.writers import Writer, verify
from tests.support.streams_process import running

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("ONAIR_TEST_STREAMS_KILLS", "3"))  # noqa: TID251
SEED = int(os.environ.get("ONAIR_TEST_SEED", "1"))  # noqa: TID251
WRITERS = 16


@pytest.mark.timeout(60 + 30 * KILLS)
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    writers = [Writer(number, random.Random(rng.random())) for number in range(WRITERS)]
    data, log = tmp_path / "data", tmp_path / "log"
    flags = ("--checkpoint-seconds", "0.3", "--log-level", "warning")
    for _ in range(KILLS):
        acknowledged = sum(writer.acknowledged for writer in writers)
        with running(data, log, *flags) as process:
            async with httpx.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as http:
                await verify(http, writers)
                async with anyio.create_task_group() as tasks:
                    for writer in writers:
                        tasks.start_soon(writer.run, http)
                    wanted = acknowledged + rng.randint(50, 400)
                    await _reached(writers, wanted)
                    await anyio.to_thread.run_sync(process.kill)
        report = check.check(data)
        assert report.ok, report.lines
    with running(data, log, *flags) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as http:
            await verify(http, writers)
    assert check.check(data).ok
    assert "Traceback" not in log.read_text()


async def _reached(writers: list[Writer], count: int) -> None:
    with anyio.fail_after(60):
        while sum(writer.acknowledged for writer in writers) < count:
            await anyio.sleep(0.01)

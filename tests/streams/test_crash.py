"""kill -9 under writers, readers, forks, closes and deletes: what was acknowledged is there.

``ONAIR_TEST_STREAMS_KILLS`` sets how often (default 3), ``ONAIR_TEST_SEED`` repeats the choices;
``-s`` shows the count.
"""

import os
import random
from pathlib import Path

import anyio
import httpx
import pytest

from streams.store import check
from tests.streams.writers import Reader, Writer, verify
from tests.support.streams_process import Process, running

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("ONAIR_TEST_STREAMS_KILLS", "3"))  # noqa: TID251
SEED = int(os.environ.get("ONAIR_TEST_SEED", "1"))  # noqa: TID251
WRITERS = 16
READERS = 4
TELL_EVERY = 25
FLAGS = ("--checkpoint-seconds", "0.3", "--log-level", "warning")


@pytest.mark.timeout(60 + 30 * KILLS)
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    writers = [Writer(number, random.Random(rng.random())) for number in range(WRITERS)]
    readers = [Reader(random.Random(rng.random())) for _ in range(READERS)]
    data, log = tmp_path / "data", tmp_path / "log"
    judged = 0
    for kill in range(KILLS + 1):
        with running(data, log, *FLAGS) as process:
            async with httpx.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as http:
                judged += await verify(http, writers)
                if kill < KILLS:
                    await _kill_under(writers, readers, http, process, rng.randint(50, 400))
        report = check.check(data)
        assert report.ok, report.lines
        if kill % TELL_EVERY == 0 or kill == KILLS:
            looks = sum(reader.looks for reader in readers)
            told = f"{_count(writers)} acknowledged, {looks} reads, {judged} streams judged"
            print(f"{kill} kills, {told}", flush=True)
    assert "Traceback" not in log.read_text()


async def _kill_under(
    writers: list[Writer],
    readers: list[Reader],
    http: httpx.AsyncClient,
    process: Process,
    acknowledged: int,
) -> None:
    """Ended once so many more requests were acknowledged."""
    wanted = _count(writers) + acknowledged
    async with anyio.create_task_group() as tasks:
        for writer in writers:
            tasks.start_soon(writer.run, http)
        for reader in readers:
            tasks.start_soon(reader.run, http, writers)
        with anyio.fail_after(60):
            while _count(writers) < wanted:
                await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(process.kill)


def _count(writers: list[Writer]) -> int:
    return sum(writer.acknowledged for writer in writers)

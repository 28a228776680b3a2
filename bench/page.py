"""What a real hls.js in Chromium goes through when a part dies (``bench.faults`` in a browser).

The page plays from one room manager, the first, so that it is hit when that one dies: no balancer.
"""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench import faults
from bench.browser import Heard, Sample, heard, playing, watch
from bench.faults import ROOM, Case, Scene
from bench.stack import Stack

BEFORE_SECONDS = 8.0  # of playing, before a part dies
AFTER_SECONDS = 15.0  # the buffer has run down to what was lost
SOON_SECONDS = 40.0  # until the player stands where a new segment brought it


@dataclass(frozen=True, slots=True)
class Page:
    """Of one fault: what was heard since, and hls.js's errors by name."""

    heard: Heard
    errors: tuple[str, ...]


async def measure(
    stack: Stack, hls_js: Path, chosen: str, told: Callable[[], None]
) -> dict[str, Page]:
    """Case → what the page went through; a page of its own each. Raises BrowserError."""
    found = {}
    async with faults.on_air(stack) as scene:
        for case in faults.CASES:
            if chosen in ("all", case.name):
                found[case.name] = await _one(scene, case, hls_js)
                told()
    return found


async def _one(scene: Scene, case: Case, hls_js: Path) -> Page:
    await scene.calm()
    playlist = f"{scene.stack.site.api_url}/hls/{ROOM}/live.m3u8"
    samples: list[Sample] = []
    async with playing(playlist, hls_js) as tab, anyio.create_task_group() as tasks:
        tasks.start_soon(watch, tab, samples)
        await anyio.sleep(BEFORE_SECONDS)
        since = len(samples)
        with scene.stack.supervisor_stopped() if case.kept_down else nullcontext():
            for pid in await scene.victims(case):
                os.kill(pid, signal.SIGKILL)
            await anyio.sleep(SOON_SECONDS if case.kept_down else AFTER_SECONDS)
            await scene.on_air_again()
        await anyio.sleep(AFTER_SECONDS)
        tasks.cancel_scope.cancel()
    errors = dict.fromkeys(name for sample in samples[since:] for name in sample.errors)
    return Page(heard(samples[since:]), tuple(errors))

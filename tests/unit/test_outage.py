"""What fails again and again is said once, then once a minute, and when it is over."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
import structlog

from pkg.outage import FORGET_SECONDS, TELL_SECONDS, Outages

pytestmark = pytest.mark.anyio


def said(logs: Sequence[Any]) -> list[tuple[str, str, object]]:
    return [(line["log_level"], line["event"], line.get("times")) for line in logs]


async def test_it_is_said_at_its_begin_once_a_minute_and_at_its_end() -> None:
    outages = Outages("origin.failed", "origin.recovered")
    with structlog.testing.capture_logs() as logs:
        for _ in range(150):
            outages.failed("m1", error="down")
            await anyio.sleep(1)
        outages.over("m1")
        outages.over("m1")
    assert said(logs) == [
        ("warning", "origin.failed", None),
        ("warning", "origin.failed", 61),
        ("warning", "origin.failed", 121),
        ("info", "origin.recovered", 150),
    ]
    assert logs[0]["error"] == "down"
    assert logs[-1]["seconds"] == 149


async def test_one_that_comes_and_goes_is_said_once_a_minute() -> None:
    outages = Outages("origin.failed", "origin.recovered")
    with structlog.testing.capture_logs() as logs:
        for _ in range(590):
            outages.failed("m1")
            await anyio.sleep(0.1)
            outages.over("m1")
        await anyio.sleep(TELL_SECONDS)
        outages.failed("m1")
    assert said(logs) == [
        ("warning", "origin.failed", None),
        ("info", "origin.recovered", None),
        ("warning", "origin.failed", None),
    ]


async def test_each_name_has_its_own_and_is_forgotten_in_the_end() -> None:
    outages = Outages("origin.failed", "origin.recovered")
    with structlog.testing.capture_logs() as logs:
        outages.over("m1")
        outages.failed("m1")
        outages.failed("m2")
        assert len(logs) == 2
        await anyio.sleep(FORGET_SECONDS + 1)
        outages.failed("m3")
        outages.over("m1")
    assert said(logs) == [("warning", "origin.failed", None)] * 3, "nobody tried m1 any more"

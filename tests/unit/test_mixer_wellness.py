"""What a mixer says of its own health: from facts, and from real programs and folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from mixer.abilities import LISTS, Abilities
from mixer.wellness import MIB, YEAR_2025, Signs, Space, judge, measure
from pkg.heartbeat import WELL

pytestmark = pytest.mark.anyio
MEDIA, RUN = Space("/media"), Space("/run")
FIT = Signs((MEDIA, RUN), ffmpeg=None, port_free=True, clock=YEAR_2025)


def media(**changes: object) -> Signs:
    return replace(FIT, spaces=(replace(MEDIA, **changes), RUN))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signs", "status", "why"),
    [
        (FIT, "healthy", None),
        (media(free_bytes=199 * MIB), "busy", "200 MiB"),
        (media(free_bytes=19 * MIB), "unhealthy", "20 MiB"),
        (media(free_inodes=999), "busy", "inodes"),
        (media(trouble="/media cannot be written"), "unhealthy", "cannot be written"),
        (replace(FIT, ffmpeg="ffmpeg lacks aac"), "busy", "lacks aac"),
        (replace(FIT, port_free=False), "busy", "port"),
        (replace(FIT, clock=YEAR_2025 - 1), "busy", "clock"),
        (replace(media(free_bytes=0), port_free=False), "unhealthy", "20 MiB"),
    ],
)
def test_health_follows_from_the_facts(signs: Signs, status: str, why: str | None) -> None:
    found = judge(signs)
    assert found.status == status
    assert why is None or why in (found.reason or "")


def test_folders_are_measured(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert found.trouble is None
    assert found.free_bytes > 0
    assert found.free_inodes > 0
    assert "No such file" in (measure(tmp_path / "gone").trouble or "")


def program(folder: Path, text: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.ffmpeg
async def test_the_real_one_can_do_what_we_ask() -> None:
    found = Abilities("ffmpeg")
    assert found.trouble is not None, "not tried"
    await found.look()
    assert found.trouble is None


async def test_one_that_lacks_something_is_not_used(tmp_path: Path) -> None:
    found = Abilities(program(tmp_path, "echo ' A....D opus  Opus'"))
    await found.look()
    lacking = {name for names in LISTS.values() for name in names} - {"opus"}
    assert all(name in (found.trouble or "") for name in lacking)
    assert "opus" not in (found.trouble or "")


async def test_one_that_cannot_be_run_is_not_used(tmp_path: Path) -> None:
    for broken in (program(tmp_path, "exit 127"), str(tmp_path / "none")):
        found = Abilities(broken)
        await found.look()
        assert "cannot be run" in (found.trouble or "")


def test_the_worst_is_all_that_is_said() -> None:
    assert judge(FIT) == WELL

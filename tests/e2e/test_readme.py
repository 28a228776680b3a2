"""Every command in README.md runs, as a newcomer would type it, against a real ``up``."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.statedir import ROOT
from tests.support.up import Running, Starter

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# What other tests run, or what runs the tests.
ELSEWHERE = ("./onair up", "./onair test", "./onair verify", "./onair tone", "./onair chaos")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    starter = Starter(tmp_path)
    try:
        yield starter.up()
    finally:
        starter.end()


def blocks() -> list[str]:
    return re.findall(
        r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )


def typed(block: str, up: Running) -> str:
    """The block for this ``up`` instead of one on the default port and state dir."""
    lines = [line for line in block.splitlines() if not line.startswith(ELSEWHERE)]
    text = "\n".join(lines).replace("127.0.0.1:8080", f"127.0.0.1:{up.base}")
    text = text.replace("--wait 10", "--wait 60").replace("wait=10", "wait=60")  # it is busy here
    return text.replace(".onair/endpoints.json", str(up.state / "endpoints.json"))


def test_every_command_of_the_readme_runs(up: Running) -> None:
    found = [text for block in blocks() if (text := typed(block, up).strip())]
    assert len(found) == 3, "rooms by ./onair, rooms by curl, doctor"
    by_hand, by_curl, _ = (up.shell(script) for script in found)
    assert "on air" in by_hand
    answers = [json.loads(text) for text in re.findall(r"\{.*?\}(?=\{|\s*$)", by_curl, re.DOTALL)]
    assert [a.get("status") for a in answers] == ["idle", "onair", None, "removing"]
    assert answers[2]["token"]

"""What is logged, and what never is."""

import json
from collections.abc import Generator

import pytest
import structlog
from pydantic import SecretBytes, SecretStr

from pkg import log


@pytest.fixture
def _clean() -> Generator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("_clean")
def test_json_lines_with_secrets_redacted_by_type(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info", "json", "mixer")
    events = structlog.get_logger()
    events.debug("room.ignored")
    events.info(
        "room.placed",
        room="blue",
        pin=SecretStr("geheim"),
        key=b"geheim",
        deep={"list": [SecretBytes(b"geheim"), (b"geheim",), {"k": bytearray(b"geheim")}]},
    )
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert "geheim" not in line
    assert (event["event"], event["service"], event["room"], event["level"]) == (
        "room.placed",
        "mixer",
        "blue",
        "info",
    )
    assert event["key"] == "<6 bytes>"
    assert event["timestamp"].endswith("Z")


@pytest.mark.usefixtures("_clean")
def test_a_secret_in_any_collection_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info", "json", "mixer")
    structlog.get_logger().info("x.y", found={SecretStr("geheim")}, frozen=frozenset({b"geheim"}))
    assert "geheim" not in capsys.readouterr().err


@pytest.mark.usefixtures("_clean")
def test_a_traceback_is_part_of_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info", "json", "mixer")
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        structlog.get_logger().exception("reconcile.failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: why" in json.loads(line)["exception"]

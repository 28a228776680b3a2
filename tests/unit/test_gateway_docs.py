"""docs/gateway.md leaves nothing out that a client may meet."""

import json
import re
from pathlib import Path

from wsgateway import people, session
from wsgateway.rpc import MAX_BATCH, MAX_ID
from wsgateway.rules import CLOSE, MESSAGES, METHODS
from wsgateway.sdp import MAX_CANDIDATES, MAX_LINES

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()


def _cells(column: int = 0) -> set[str]:
    """What stands in this column of the page's tables, words in backticks one by one."""
    rows = [row.split("|")[1:-1] for row in PAGE.splitlines() if row.startswith("|")]
    cells = [row[column].strip() for row in rows if len(row) > column]
    return {*cells} | {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def test_each_error_stands_there_with_its_code() -> None:
    for code, message in MESSAGES.items():
        assert re.search(rf"(?m)^\| {int(code)} \| `{message}` \|", PAGE), message


def test_each_close_code_stands_there_and_no_other() -> None:
    shown = {cell for cell in _cells() if re.fullmatch(r"[14]\d{3}", cell)}
    assert shown == {str(closing.code) for closing in CLOSE.values()}


def test_each_method_and_notification_stands_there() -> None:
    sources = "".join(Path(str(module.__file__)).read_text() for module in (session, people))
    told = set(re.findall(r'(?:notify|_inform|news\.append)\(\s*"(\w+)"', sources))
    told |= set(re.findall(r'"(participant\w+)"', sources)) - {"participant", "participants"}
    assert len(told) == 10
    assert told | set(METHODS) <= _cells()


def test_the_bounds_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    for words in (
        f"a batch of at most {MAX_BATCH}",
        f"at most {MAX_ID} characters",
        f"{MAX_LINES} lines, {MAX_CANDIDATES} candidates",
        f"At most {session.MESSAGES_PER_SECOND:g} messages a second",
        f"{session.MESSAGES_BURST} at once",
        f"within {session.JOIN_SECONDS:g} s of connecting",
        f"waits for up to {session.PATIENCE_SECONDS:g} s",
        f"fails after {session.LAG_SECONDS:g} s",
        f"at most {people.MAX_DISPLAY} characters",
    ):
        assert words in text, words


def test_the_conversation_is_made_of_json() -> None:
    block = PAGE.split("```")[1]
    joined = re.sub(r"\n {4}(?=\S)", "", re.sub(r"(?m)^ +….*$", "", block))
    lines = [line[2:] for line in joined.splitlines() if line[:1] in ("→", "←")]
    assert len(lines) == 16
    for line in lines:
        assert {"id", "method"} & json.loads(line).keys()

"""Log files are followed and bounded; their lines never drive the terminal."""

import json
import os
from pathlib import Path

from cli import logfile, render
from cli.logfile import LogFile
from cli.terminal import Terminal


def test_lines_come_once_and_only_when_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log")
    assert list(log.new_lines()) == []
    with logfile.open_for_part(log.path) as writer:
        writer.write(b"one\ntw")
        assert list(log.new_lines()) == ["one"]
        writer.write(b"o\n\xff\n")
        assert list(log.new_lines()) == ["two", "�"]


def test_a_log_stays_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", most_bytes=1000)
    seen = []
    with logfile.open_for_part(log.path) as writer:
        for number in range(500):
            writer.write(f"line {number}\n".encode())
            seen += list(log.new_lines())
            assert log.path.stat().st_size <= 1000
    assert seen == [f"line {number}" for number in range(500)]
    assert (tmp_path / "x.log.1").stat().st_size <= 1010


def test_the_log_of_the_run_before_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("old\n")
    log = LogFile(tmp_path / "x.log")
    assert list(log.new_lines()) == []
    assert (tmp_path / "x.log.1").read_text() == "old\n"


def test_last_lines_of_a_long_and_of_no_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert logfile.last_lines(path) == []
    path.write_text("x" * 200_000 + "\n" + "\n".join("abc") + "\n")
    assert logfile.last_lines(path, 3) == ["a", "b", "c"]


def test_fields_are_shown_and_control_characters_are_not() -> None:
    line = json.dumps({"level": "error", "event": "room.\x1b[2Jfailed", "why": "\x07no", "n": 3})
    assert render.render("mixer", line).plain.split(None, 1)[1] == (
        "error    room.[2Jfailed  why=no  n=3"
    )
    assert "\x1b" not in render.render("janus", "\x1b[31mred").plain


def test_json_that_is_no_object_or_no_json_is_shown_as_it_is() -> None:
    for line in ("[1]", "{oops", '"x"', "{" * 5000):
        assert render.render("mixer", line).plain.endswith(line)


def test_a_terminal_nobody_reads_does_not_block() -> None:
    reader, writer = os.pipe()
    terminal = Terminal(writer)
    for _ in range(20_000):  # far more than a pipe holds
        terminal.say("x" * 80)
    assert os.read(reader, 81) == b"x" * 80 + b"\n"
    os.close(reader)
    terminal.close()
    os.close(writer)

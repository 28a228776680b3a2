"""From a line in a part's log to a line in the terminal. Pure.

Our daemons and etcd write JSON (structlog's and zap's field names), Janus writes text.

>>> render("mixer", '{"level": "info", "event": "room.placed", "room": "blue"}').plain
'mixer            info     room.placed  room=blue'
>>> render("janus", "[WARN] no such thing").plain
'janus            [WARN] no such thing'
"""

import json
import re
from typing import Any

from rich.text import Text

NAME_WIDTH = 15
COLOURS = {
    "etcd": "blue",
    "janus": "magenta",
    "room-manager": "green",
    "janus-manager": "cyan",
    "mixer": "yellow",
}
LEVEL_COLOURS = {"warn": "yellow", "warning": "yellow", "error": "red", "fatal": "red"}
# Said by every line, or said already by the prefix.
DROPPED = {"level", "event", "msg", "timestamp", "ts", "service", "caller", "logger"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a log must not drive the terminal


def parse(line: str) -> dict[str, Any] | None:
    """A JSON log line's fields; None for anything else."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def render(part: str, line: str) -> Text:
    fields = parse(line)
    text = prefix(part)
    if fields is None:
        return text.append(CONTROL.sub("", line))
    level = str(fields.get("level", ""))
    text.append(clock(fields))
    text.append(f"{CONTROL.sub('', level):<8} ", LEVEL_COLOURS.get(level.lower(), "dim"))
    text.append(CONTROL.sub("", str(fields.get("event") or fields.get("msg") or "")))
    for name, value in fields.items():
        if name not in DROPPED and not _says_nothing(fields, name):
            text.append(f"  {CONTROL.sub('', name)}=", "dim")
            text.append(CONTROL.sub("", _short(value)))
    return text


def _says_nothing(fields: dict[str, Any], name: str) -> bool:
    """A null, or the queue's key where the room stands already."""
    value = fields[name]
    return value is None or (name == "key" and value == fields.get("room"))


def prefix(part: str) -> Text:
    return Text().append(f"{part:<{NAME_WIDTH}}  ", COLOURS.get(program(part), "bold"))


def program(part: str) -> str:
    """
    >>> program("janus-manager-2"), program("janus")
    ('janus-manager', 'janus')
    """
    return re.sub(r"-[0-9]+$", "", part)


def clock(fields: dict[str, Any]) -> str:
    """The time of day of an RFC 3339 stamp, with a space behind; nothing if there is none.

    >>> clock({"timestamp": "2026-11-21T10:12:05.123456Z"})
    '10:12:05 '
    """
    stamp = fields.get("timestamp") or fields.get("ts")
    match = re.search(r"T(\d\d:\d\d:\d\d)", stamp) if isinstance(stamp, str) else None
    return f"{match[1]} " if match else ""


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_noise(part: str, line: str) -> bool:
    """What only ``--verbose`` shows: etcd below warnings, Janus below errors.

    >>> [is_noise("etcd", '{"level": "%s"}' % level) for level in ("info", "error")]
    [True, False]
    >>> [is_noise("janus", t) for t in ("[WARN] x", "[Sat Nov 21 10:12:05] [ERR] x")]
    [True, False]
    >>> is_noise("janus", "[ERR] Unauthorized (wrong admin_key)")  # our manager tests the lock
    True
    >>> is_noise("mixer", "anything")
    False
    """
    if program(part) == "etcd":
        level = str((parse(line) or {}).get("level", "info"))
        return level in ("debug", "info", "warn")
    if program(part) == "janus":
        return not re.search(r"\[(ERR|FATAL)\]", line) or "admin_key)" in line
    return False

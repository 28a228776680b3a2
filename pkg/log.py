"""Logging for every process: events as ``noun.verb`` with fields, console or JSON.

Secrets are redacted by type: a pydantic secret is written as stars, bytes as their length,
whatever field they stand in.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from pydantic import SecretBytes, SecretStr

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """
    >>> redact(None, "", {"pin": SecretStr("1234"), "key": b"abc", "room": "blue"})
    {'pin': '**********', 'key': '<3 bytes>', 'room': 'blue'}
    """
    return {name: _safe(value) for name, value in event.items()}


def _safe(value: object) -> object:
    match value:
        case SecretStr() | SecretBytes():
            return str(SecretStr("x"))
        case bytes() | bytearray():
            return f"<{len(value)} bytes>"
        case dict():
            return {k: _safe(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_safe(v) for v in value]
        case _:
            return value


def setup(level: str, style: Literal["auto", "console", "json"], service: str) -> None:
    """Configure structlog for this process; ``service`` is bound to every event."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries that log by themselves (uvicorn, websockets) are heard from warnings on.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")

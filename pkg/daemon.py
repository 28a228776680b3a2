"""How a daemon is run and how it ends: its log, its loop, its last words. Knows no etcd."""

import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import anyio

from pkg import log
from pkg.errors import ConfigError, OnairError


class Config(Protocol):
    """What it needs of the settings."""

    @property
    def program(self) -> str: ...
    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> Literal["auto", "console", "json"]: ...


C = TypeVar("C", bound=Config)


def run_daemon(run: Callable[[C], Coroutine[Any, Any, None]], config: C, service: str) -> None:
    """Run a daemon until a signal. Ends the process with 2 for a wrong setting, 1 for the rest."""
    log.setup(config.log_level, config.log_format, service)
    try:
        anyio.run(run, config, backend_options={"use_uvloop": True})
    except OnairError as error:
        end(config.program, [error])
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if not all(isinstance(error, OnairError) for error in errors):
            raise
        end(config.program, errors)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def end(program: str, errors: Sequence[BaseException]) -> NoReturn:
    """The last words: each error once, a line each."""
    lines = dict.fromkeys(f"{program}: {error}" for error in errors)
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(2 if any(isinstance(error, ConfigError) for error in errors) else 1)

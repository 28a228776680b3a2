"""Options that every client command takes, written once.

``with_client`` turns ``def ls(client: Client, out: Out, room: str)`` into a typer command with
``--api``, ``--api-key``, ``--key-file``, ``--state-dir`` and ``--json`` added.
"""

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from cli.client import Where, connect

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Out:
    """Where a command's result goes: a table for people, or JSON for machines."""

    as_json: bool
    console: Console

    def show(self, value: object, text: RenderableType) -> None:
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, indent=2))
        elif isinstance(text, str):
            print(text)  # unwrapped, so that a script can take it
        else:  # only tables fit themselves to the terminal; anything else would be cut
            self.console.print(text, soft_wrap=not isinstance(text, Table))


def _common(
    api: Annotated[str | None, typer.Option("--api", help="URL of the API (or: ONAIR_API)")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key", help="its key; ps shows it: better is --key-file, or ONAIR_API_KEY"
        ),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="file with the API key")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="of a running up (or: ONAIR_STATE_DIR)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> tuple[Where, bool]:
    return Where(api, api_key, key_file, state_dir), as_json


def with_client(command: Command) -> Command:
    """A typer command from one whose first two arguments are the Client and the Out."""
    shared = inspect.signature(_common).parameters
    own = list(inspect.signature(command).parameters.values())[2:]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        where, as_json = _common(**{name: given.pop(name) for name in shared})
        command(connect(where), Out(as_json, Console()), **given)

    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared.values())]
    )
    return wrapper

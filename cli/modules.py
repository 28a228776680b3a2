"""``./onair modules …``: the fleet, and an operator's marks on it."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.client import Client
from cli.options import Out, with_client

app = typer.Typer(no_args_is_help=True, help="The fleet: Janus servers and mixers.")

Module = Annotated[str, typer.Argument(metavar="KIND/ID", help="such as mixer/mixer-1")]


@app.command()
@with_client
def ls(client: Client, out: Out) -> None:
    """Health, mark, and load of capacity of each module."""
    fleet = client.call("GET", "/api/modules")
    out.show(fleet, table(fleet["modules"]))


@app.command()
@with_client
def drain(
    client: Client,
    out: Out,
    module: Module,
    deadline: Annotated[
        float | None, typer.Option(help="seconds; kept with the mark, and not acted on yet")
    ] = None,
) -> None:
    """No new rooms on this module; those it has stay until they are stopped."""
    mark(client, out, module, {"mark": "draining"} | _deadline(deadline))


@app.command()
@with_client
def ready(client: Client, out: Out, module: Module) -> None:
    """Take a module's mark away: it may have rooms again."""
    mark(client, out, module, {"mark": "ready"})


def mark(client: Client, out: Out, module: str, body: dict[str, Any]) -> None:
    kind, slash, module_id = module.partition("/")
    if not (kind and slash and module_id):
        raise typer.BadParameter(f"{module!r}: give KIND/ID, such as mixer/mixer-1")
    answer = client.call("PUT", f"/api/modules/{kind}/{module_id}/mark", body)
    out.show(answer, Text(f"{module} is marked {body['mark']}"))


def _deadline(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"deadlineSeconds": seconds}


def table(modules: list[dict[str, Any]]) -> Table:
    shown = Table("MODULE", "HEALTH", "MARK", "LOAD", "HOST", "REASON", box=None, pad_edge=False)
    for module in modules:
        health = str(module["health"])
        shown.add_row(
            f"{module['kind']}/{module['moduleId']}",
            Text(health, "green" if health == "healthy" else "red"),
            module["mark"],
            f"{module['used']}/{module['capacity']}",
            module.get("host") or "-",
            module.get("reason") or "",
        )
    return shown

"""``./onair modules …``: the fleet, and an operator's marks on it."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import drain as draining
from cli.client import Client
from cli.options import Out, with_client

app = typer.Typer(no_args_is_help=True, help="The fleet: Janus servers and mixers.")

HEALTH_COLOURS = {"healthy": "green", "busy": "yellow"}
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
        float | None,
        typer.Option(
            help="seconds, after which a Janus's rooms are moved, too; no effect on a mixer"
        ),
    ] = None,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--no-wait", help="until it is empty; by itself on a terminal only"),
    ] = None,
) -> None:
    """No new rooms on this module; a mixer's move to others one by one, unheard by listeners.

    A Janus's rooms end by themselves, or are moved at the deadline: their hosts have to come back.
    """
    answer = mark(client, module, {"mark": "draining"} | _deadline(deadline))
    kind, module_id = parse(module)
    endless = kind == "janus" and deadline is None
    idle = kind == "mixer" and deadline is not None
    if wait is None:
        wait = out.console.is_terminal and not out.as_json and not endless
    if not out.as_json:
        print(words(module, answer, endless=endless))
        if idle:
            print("--deadline has no effect on a mixer: its rooms move at once, one by one")
    if wait:
        _wait(client, out, kind, module_id)
    if out.as_json:
        out.show(answer, "")


@app.command()
@with_client
def ready(client: Client, out: Out, module: Module) -> None:
    """Take a module's mark away: it may have rooms again, and no more are moved away."""
    answer = mark(client, module, {"mark": "ready"})
    out.show(answer, f"{module} is marked ready")


@app.command()
@with_client
def disable(client: Client, out: Out, module: Module) -> None:
    """No new rooms on this module; those it has stay until they are stopped."""
    answer = mark(client, module, {"mark": "disabled"})
    out.show(answer, f"{module} is marked disabled; {take_back(module)}")


def mark(client: Client, module: str, body: dict[str, Any]) -> dict[str, Any]:
    kind, module_id = parse(module)
    answer: dict[str, Any] = client.call("PUT", f"/api/modules/{kind}/{module_id}/mark", body)
    return answer


def parse(module: str) -> tuple[str, str]:
    """
    >>> parse("mixer/mixer-1")
    ('mixer', 'mixer-1')
    """
    kind, slash, module_id = module.partition("/")
    if not (kind and slash and module_id):
        raise typer.BadParameter(f"{module!r}: give KIND/ID, such as mixer/mixer-1")
    return kind, module_id


def words(module: str, answer: dict[str, Any], *, endless: bool) -> str:
    """What draining means for this module, and what to do next."""
    said = f"{module} is marked draining; {take_back(module)}"
    if not endless:
        return said
    many = answer.get("used", 0)
    rooms = "its room ends" if many == 1 else f"its {many} rooms end"
    return f"{said}\n{rooms} by themselves; --deadline S moves what is left after S seconds"


def take_back(module: str) -> str:
    return f"take it back with: ./onair modules ready {module}"


def _wait(client: Client, out: Out, kind: str, module_id: str) -> None:
    console = Console(stderr=True) if out.as_json else out.console
    try:
        taken = draining.follow(client, console, kind, module_id)
    except KeyboardInterrupt:
        print(f"the drain goes on; {take_back(f'{kind}/{module_id}')}")
        raise typer.Exit(130) from None
    console.print(f"{kind}/{module_id} is empty after {taken:.0f} s", highlight=False)


def _deadline(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"deadlineSeconds": seconds}


def table(modules: list[dict[str, Any]]) -> Table:
    shown = Table("MODULE", "HEALTH", "MARK", "LOAD", "HOST", "REASON", box=None, pad_edge=False)
    for module in modules:
        health = str(module["health"])
        shown.add_row(
            f"{module['kind']}/{module['moduleId']}",
            Text(health, HEALTH_COLOURS.get(health, "red")),
            marked(module),
            f"{module['used']}/{module['capacity']}",
            module.get("host") or "-",
            module.get("reason") or "",
        )
    return shown


def marked(module: dict[str, Any]) -> str:
    """
    >>> marked({"mark": "draining", "deadlineAt": "2026-11-21T14:05:06Z"})
    'draining until 14:05:06 UTC'
    """
    at = str(module.get("deadlineAt") or "")
    return f"{module['mark']} until {at[11:19]} UTC" if at else str(module["mark"])

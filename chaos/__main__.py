"""``./onair chaos``: random faults against a running ``up``, and whether it stood them.

Exit code 0: no violation; 1: at least one; 2: it could not run; 130: interrupted.
"""

import random
import signal
from datetime import datetime
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.text import Text

from chaos import report, scene
from chaos.report import Report
from chaos.run import Plan, Run
from cli.client import Where, state_of
from pkg.errors import OnairError

PREFIX = "onair-chaos-"
CANNOT, INTERRUPTED = 2, 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.01, help="how long faults are done")] = 5.0,
    seed: Annotated[
        int | None, typer.Option(help="repeats a schedule; default: a new one, which is shown")
    ] = None,
    rooms: Annotated[int, typer.Option(min=1, max=500, help="how many come and go")] = 20,
    only: Annotated[
        list[str] | None, typer.Option(help="only faults with this in their name; repeatable")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="of a running up (or: ONAIR_STATE_DIR)")
    ] = None,
) -> None:
    """Random faults against a running `up`: kill, pause, take etcd away, drain; one at a time.

    Meanwhile rooms are made, started, stopped and deleted, and listeners play two steady ones.
    After each fault etcd, Janus, processes, folders and the API's answers must agree again, and
    the listeners have missed no more than that fault may cost. It touches the processes of this
    `up` only, and rooms called onair-chaos-…; other rooms of this `up` suffer with it.
    """
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - not to be secret
    plan = Plan(minutes * 60, seed, rooms, tuple(only or ()))
    path = state_of(Where(state_dir=state_dir)).path
    say(f"chaos for {minutes:g} min, seed {seed}, {rooms} rooms, on {path}")
    done: Report | None = None
    failed: list[OnairError] = []
    try:
        done = anyio.run(run, path, plan)
    except* OnairError as errors:
        failed = _flat(errors)
    for error in failed:
        console.print(Text(f"onair chaos: cannot run: {error}", "red"))
    if failed:
        raise typer.Exit(CANNOT)
    if done is None:
        raise typer.Exit(INTERRUPTED)
    console.print(report.show(done))
    raise typer.Exit(done.exit_code)


async def run(path: Path, plan: Plan) -> Report | None:
    """None: a signal ended it; our rooms are deleted then, too."""
    done: Report | None = None
    async with scene.found(path, PREFIX) as found, anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
        done = await Run(found, plan, say).go()
        tasks.cancel_scope.cancel()
    return done


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        async for _ in signals:
            say("interrupted: what was paused goes on")
            scope.cancel()


def say(words: str) -> None:
    console.print(Text(f"{datetime.now().astimezone():%H:%M:%S}  {words}"))


def _flat(errors: BaseExceptionGroup[OnairError]) -> list[OnairError]:
    found: list[OnairError] = []
    for error in errors.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    app(prog_name="./onair chaos")

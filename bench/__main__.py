"""``./onair bench …``: each command starts an Onair of its own, measures, and cleans up."""

import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from bench import faults, latency, playable, report, throughput
from bench.http import UnexpectedAnswerError
from bench.report import Progress
from bench.stack import ONE_OF_EACH, Stack, private_stack
from cli.site import Many
from pkg.errors import OnairError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Benchmarks: each prints a ratio to a limit measured in the same run.",
)
LIMIT_SECONDS = 170.0
FAULTS = ", ".join(case.name for case in faults.CASES)
console = Console(highlight=False, soft_wrap=True)

Measuring = Callable[[Stack], Coroutine[Any, Any, bool]]


@app.command()
def start(
    rooms: Annotated[int, typer.Option(min=1, help="rooms, one after the other")] = 50,
    starts: Annotated[int, typer.Option(min=100, help="starts in each turn of throughput")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="turns of throughput")] = 15,
    part: Annotated[str, typer.Option(help="latency, throughput or both")] = "both",
) -> None:
    """Start to forwarding against the raw chain; starts per second against a bare route."""

    async def measure(stack: Stack) -> bool:
        good = True
        if part in ("latency", "both"):
            with Progress("start → forwarding", rooms + latency.WARM_UP) as progress:
                found = await latency.measure(stack, rooms, progress.step)
            good &= report.latencies(console, found)
        if part in ("throughput", "both"):
            sizes = throughput.Sizes(starts, rounds)
            with Progress("starts per second", 2 * (rounds + 1)) as progress:
                rates = await throughput.measure(stack, sizes, progress.step)
            good &= report.rates(console, rates)
        return good

    raise typer.Exit(run(measure))


@app.command()
def onair(
    runs: Annotated[int, typer.Option(min=1, help="rooms, one after the other")] = 10,
) -> None:
    """Start to the first playable segment, as a player sees it, and to status onair."""

    async def measure(stack: Stack) -> bool:
        with Progress("start → playable", runs) as progress:
            found = await playable.measure(stack, runs, progress.step)
        return report.times(console, found)

    raise typer.Exit(run(measure))


@app.command("faults")
def fault(
    runs: Annotated[int, typer.Option(min=1, help="of each fault")] = 10,
    only: Annotated[str, typer.Option(help=f"all, or one of: {FAULTS}")] = "all",
) -> None:
    """kill -9 of each part in turn: what a listener loses, with two of everything."""
    count = runs * sum(only in ("all", case.name) for case in faults.CASES)
    if not count:
        raise typer.BadParameter(f"--only {only}: one of {FAULTS}")

    async def measure(stack: Stack) -> bool:
        with Progress("kill, listen, recover", count) as progress:
            found = await faults.measure(stack, runs, only, progress.step)
        return report.losses(console, found)

    limit = LIMIT_SECONDS + count * faults.RUN_SECONDS
    raise typer.Exit(run(measure, many=faults.TWO_OF_EACH, limit=limit))


def run(measure: Measuring, many: Many = ONE_OF_EACH, limit: float = LIMIT_SECONDS) -> int:
    """0: goals reached, 1: something failed, 2: measured, but a goal was missed."""

    async def on_own_stack() -> bool:
        with anyio.fail_after(limit):
            console.print(report.machine())
            with Progress("starting a private Onair", None):
                stack = private_stack(many)
                entered = await stack.__aenter__()
            try:
                return await measure(entered)
            finally:
                with Progress("ending it", None):
                    await stack.__aexit__(None, None, None)

    try:
        return 0 if anyio.run(on_own_stack, backend_options={"use_uvloop": True}) else 2
    except (OnairError, UnexpectedAnswerError) as error:
        sys.stderr.write(f"onair bench: {error}\n")
    except TimeoutError:
        sys.stderr.write(f"onair bench: not done within {limit:g} s, or a room stuck\n")
    return 1


if __name__ == "__main__":
    app(prog_name="./onair bench")

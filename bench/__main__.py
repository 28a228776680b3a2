"""``./onair bench …``: each command starts an Onair of its own, measures, and cleans up."""

import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import typer
from rich.console import Console

from bench import (
    drain,
    faults,
    hosts,
    idle,
    latency,
    outage,
    page,
    pages,
    playable,
    report,
    report_hosts,
    report_rooms,
    report_streams,
    sockets,
    streams,
    streams_memory,
    streams_servers,
    throughput,
)
from bench.http import UnexpectedAnswerError
from bench.report import Progress
from bench.stack import ONE_OF_EACH, Stack, private_stack
from cli.site import Many
from pkg.errors import OnairError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Benchmarks: each starts an Onair of its own, measures, cleans up, and names its goals.",
)
LIMIT_SECONDS = 170.0
FAULTS = ", ".join(case.name for case in faults.CASES)
# Into a file, tables keep all of their columns.
WIDTH = shutil.get_terminal_size((140, 25)).columns
console = Console(highlight=False, soft_wrap=True, width=WIDTH)

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
    count = runs * chosen(only)

    async def measure(stack: Stack) -> bool:
        with Progress("kill, listen, recover", count) as progress:
            found = await faults.measure(stack, runs, only, progress.step)
        return report.losses(console, found)

    limit = LIMIT_SECONDS + count * faults.RUN_SECONDS
    raise typer.Exit(run(measure, many=faults.TWO_OF_EACH, limit=limit))


def chosen(only: str) -> int:
    """How many cases are meant. Raises BadParameter if none is."""
    count = sum(only in ("all", case.name) for case in faults.CASES)
    if not count:
        raise typer.BadParameter(f"--only {only}: one of {FAULTS}")
    return count


@app.command("browser")
def browse(
    hls_js: Annotated[Path, typer.Option(help="hls.min.js of `npm pack hls.js`, in dist/")],
    only: Annotated[str, typer.Option(help=f"all, or one of: {FAULTS}")] = "all",
) -> None:
    """kill -9 of each part in turn under a page that plays by hls.js in Chromium."""
    count = chosen(only)

    async def measure(stack: Stack) -> bool:
        with Progress("kill, watch the page", count) as progress:
            found = await page.measure(stack, hls_js, only, progress.step)
        return report_rooms.pages(console, found)

    limit = LIMIT_SECONDS + 2 * count * faults.RUN_SECONDS
    raise typer.Exit(run(measure, many=faults.TWO_OF_EACH, limit=limit))


@app.command("pages")
def visit(
    runs: Annotated[int, typer.Option(min=1, help="of everything")] = 5,
) -> None:
    """Studio and listen page in Chromium: click to heard, and kill -9 of what they hang on."""
    count = runs * pages.PARTS

    async def measure(stack: Stack) -> bool:
        with Progress("hosts come, a part dies", count) as progress:
            found = await pages.measure(stack, runs, progress.step)
        return report_rooms.visits(console, found, pages.GOALS)

    limit = LIMIT_SECONDS + count * pages.RUN_SECONDS
    raise typer.Exit(run(measure, many=pages.TWO_GATEWAYS, limit=limit))


@app.command("idle")
def rest(
    rooms: Annotated[int, typer.Option(min=1, help="on air in the second turn")] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="of each turn")] = 60.0,
) -> None:
    """What etcd writes and every part uses while nothing changes: without rooms, then with."""

    async def measure(stack: Stack) -> bool:
        with Progress("nothing changes", 2) as progress:
            turns = await idle.measure(stack, rooms, seconds, progress.step)
        return report_rooms.idle(console, turns)

    raise typer.Exit(run(measure, limit=LIMIT_SECONDS + 2 * seconds + rooms * 5))


@app.command("outage")
def away(
    minutes: Annotated[float, typer.Option(min=0, help="etcd is stopped; 0: not at all")] = 7.0,
    pause: Annotated[float, typer.Option(min=0, help="seconds it is frozen before; 0: no")] = 14.0,
    rooms: Annotated[int, typer.Option(min=outage.LISTENED, max=150, help="on air")] = 20,
) -> None:
    """etcd frozen for longer than every lease, then stopped for minutes, with rooms on air."""
    seconds = round(pause + minutes * 60)

    async def measure(stack: Stack) -> bool:
        with Progress("etcd is away", seconds) as progress:
            found = await outage.measure(stack, rooms, pause, minutes * 60, progress.step)
        return report_rooms.outages(console, found)

    limit = LIMIT_SECONDS + 2 * seconds + rooms * 5
    raise typer.Exit(run(measure, many=faults.TWO_OF_EACH, limit=limit))


@app.command("drain")
def leave(
    rooms: Annotated[int, typer.Option(min=4, max=30, help="on the mixer")] = 10,
) -> None:
    """A mixer full of rooms is drained: with enough places elsewhere, with too few, taken back."""

    async def measure(stack: Stack) -> bool:
        with Progress("drains", 3) as progress:
            found = await drain.measure(stack, rooms, progress.step)
        return report_rooms.drains(console, found)

    settings = {"ONAIR_MIXER_CAPACITY": str(rooms)}
    limit = LIMIT_SECONDS + 3 * drain.DRAIN_SECONDS
    raise typer.Exit(run(measure, drain.TWO_MIXERS, limit, settings))


@app.command("hosts")
def join(
    count: Annotated[int, typer.Option("--hosts", min=1, max=200, help="each way")] = 20,
) -> None:
    """A host who joins through the gateway against one who joins Janus directly, in turns."""

    async def measure(stack: Stack) -> bool:
        with Progress("hosts join", count + hosts.WARM_UP) as progress:
            found = await hosts.measure(stack, count, progress.step)
        return report_hosts.joins(console, found)

    raise typer.Exit(run(measure, limit=LIMIT_SECONDS + 5 * count))


@app.command("sockets")
def throng(
    count: Annotated[int, typer.Option("--sockets", min=1, max=4000, help="each time")] = 1000,
) -> None:
    """WebSockets that all come within a second, and half-open ones, while two hosts talk."""

    async def measure(stack: Stack) -> bool:
        with Progress("crowds", 3) as progress:
            turns = await sockets.measure(stack, count, progress.step)
        return report_hosts.sockets(console, turns)

    raise typer.Exit(run(measure, settings=sockets.SETTINGS))


@app.command("streams")
def stream(
    *,
    reference: Annotated[bool, typer.Option("--reference", help="Node's, too, by turns")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="only what stays in memory")] = False,
    seconds: Annotated[float, typer.Option(min=1, max=40, help="of each turn")] = 5.0,
    runs: Annotated[int, typer.Option(min=1, help="turns of each side")] = 3,
    only: Annotated[str, typer.Option(help="rows whose name holds this")] = "",
) -> None:
    """The stream server: appends, delivery, catch-up, growth; with --reference beside Node's."""
    rows = [row for row in streams.ROWS if only in row.name]
    sides = streams_servers.ALL if reference else [streams_servers.OURS]
    if not rows:
        raise typer.BadParameter(f"--only {only}: no row is named so")

    async def compare() -> bool:
        if reference:
            with Progress("installing the reference", None):
                await anyio.to_thread.run_sync(streams_servers.prepare_reference)
        with Progress("turns", len(rows) * len(sides) * runs) as progress:
            found = await streams.measure(rows, sides, runs, seconds, progress.step)
        good = report_streams.compared(console, found)
        if not only:
            with Progress("sizes", len(streams_memory.SIZES) * runs) as progress:
                sizes = await streams_memory.sizes(runs, seconds, progress.step)
            report_streams.sized(console, sizes)
        return good

    async def remember() -> bool:
        with Progress("memory", streams_memory.MEMORY_LINES) as progress:
            kept = await streams_memory.memory(progress.step)
        return report_streams.memory(console, kept)

    limit = streams.JOB_SECONDS * (len(rows) + len(streams_memory.SIZES)) * len(sides) * runs
    raise typer.Exit(run_alone(remember if memory else compare, limit))


def run(
    measure: Measuring,
    many: Many = ONE_OF_EACH,
    limit: float = LIMIT_SECONDS,
    settings: Mapping[str, str] | None = None,
) -> int:
    """0: goals reached, 1: something failed, 2: measured, but a goal was missed."""

    async def on_own_stack() -> bool:
        with Progress("starting a private Onair", None):
            stack = private_stack(many, settings)
            entered = await stack.__aenter__()
        try:
            return await measure(entered)
        finally:
            with Progress("ending it", None):
                await stack.__aexit__(None, None, None)

    return run_alone(on_own_stack, limit)


def run_alone(measure: Callable[[], Coroutine[Any, Any, bool]], limit: float) -> int:
    """As `run`, without an Onair: what is measured starts what it needs."""

    async def in_time() -> bool:
        with anyio.fail_after(limit):
            console.print(report.machine())
            return await measure()

    try:
        return 0 if anyio.run(in_time, backend_options={"use_uvloop": True}) else 2
    except (OnairError, UnexpectedAnswerError) as error:
        sys.stderr.write(f"onair bench: {error}\n")
    except TimeoutError:
        sys.stderr.write(f"onair bench: not done within {limit:g} s, or a room stuck\n")
    return 1


if __name__ == "__main__":
    app(prog_name="./onair bench")

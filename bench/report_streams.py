"""The tables of `bench streams`: our stream server beside the reference, and beside the disk; how
it grows; what stays in its memory."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import Goal, ms, percentile
from bench.streams import DISK, Measured
from bench.streams_memory import Kept, Sized
from bench.streams_servers import OURS
from bench.streams_window import Found

MEGA = 1e6
STALL_GOAL = Goal(at_most=0.25)  # seconds an append may take while others fill, read or stall


def compared(console: Console, found: Sequence[Measured]) -> bool:
    """One line a side: median (least to most), ours as a multiple of it, CPU (shares of a core:
    the server's, the load's; and the server's for each append); then the goals."""
    table = Table(title=f"streams, {len(found[0].sides[OURS])} runs of each in turns")
    table.add_column("", no_wrap=True)
    table.add_column("side", no_wrap=True)
    for column in ("median", "range", "Onair / it", "CPU", "each", "of load"):
        table.add_column(column, justify="right", no_wrap=True)
    for measured in found:
        ours = percentile(measured.values(OURS), 0.5)
        for side in measured.sides:
            table.add_row(*_cells(measured, side, ours))
        table.add_section()
    console.print(table)
    good = [_verdict(console, measured) for measured in found]
    return all(good)


def _cells(measured: Measured, side: str, ours: float) -> list[str]:
    values, runs = measured.values(side), measured.sides[side]
    middle = percentile(values, 0.5)
    words = [worded(measured, value) for value in (middle, min(values), max(values))]
    errors = sum(run.errors for run in runs)
    return [
        measured.row.name if side == OURS else "",
        f"{side}, {errors} errors" if errors else side,
        words[0],
        f"{words[1]} to {words[2]}" if len(values) > 1 else "",
        f"{ours / middle:.2f}" if middle and side != OURS else "",
        "" if side == DISK else _share([run.server_cpu for run in runs]),
        _each(runs) if measured.row.kind == "append" and side != DISK else "",
        "" if side == DISK else _share([run.load_cpu for run in runs]),
    ]


def worded(measured: Measured, value: float) -> str:
    """A figure of that row, with its unit."""
    if measured.row.figure != "rate":
        return ms(value)
    return f"{value / MEGA:.0f} MB/s" if measured.row.kind == "read" else f"{value:.0f}"


def _share(shares: Sequence[float]) -> str:
    return f"{percentile(shares, 0.5) * 100:.0f} %"


def _each(runs: Sequence[Found]) -> str:
    """The server's CPU time for one append: it hardly depends on what else the machine does."""
    return (
        f"{percentile([run.server_cpu / run.rate for run in runs if run.rate], 0.5) * 1e6:.0f} µs"
    )


def _verdict(console: Console, measured: Measured) -> bool:
    value, goal = percentile(measured.values(OURS), 0.5), measured.row.goal
    reached, errors = goal.reached(value), sum(run.errors for run in measured.sides[OURS])
    console.print(
        f"{measured.row.name}: {worded(measured, value)}, goal {_goal(measured)}: "
        f"{'reached' if reached else 'NOT reached'}" + (f", {errors} errors" if errors else "")
    )
    return reached and not errors


def _goal(measured: Measured) -> str:
    least, most = measured.row.goal.at_least, measured.row.goal.at_most
    return f"≥ {worded(measured, least)}" if least else f"≤ {worded(measured, most or 0.0)}"


def sized(console: Console, found: Sequence[Sized]) -> None:
    """Appends a second to what is there already, and memory: new, filled, in the end."""
    table = Table(title=f"64 writers of 100 B, {len(found[0].runs)} runs of each")
    table.add_column("there already", no_wrap=True)
    for column in ("append/s", "range", "memory: new", "filled", "then"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        rates = [run.rate for run in one.runs]
        row = (f"{percentile(rates, 0.5):.0f}", f"{min(rates):.0f} to {max(rates):.0f}")
        table.add_row(one.size.name, *row, *(_mb(rss) for rss in one.rss))
    console.print(table)


def _mb(size: float) -> str:
    return f"{size / MEGA:.0f} MB"


def memory(console: Console, found: Sequence[Kept]) -> bool:
    """Resident memory before, at the most, afterwards; what another writer waited meanwhile."""
    table = Table(title="the server's memory, and one writer beside it")
    table.add_column("", no_wrap=True)
    for column in ("before", "most", "afterwards", "append p99", "longest"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        sizes = (one.before, one.found.rss, one.after)
        waits = (ms(one.found.p99), ms(one.found.worst))
        table.add_row(one.name, *(_mb(size) for size in sizes), *waits)
    console.print(table)
    worst = max(one.found.worst for one in found)
    console.print(f"longest append {ms(worst)}, goal in seconds {STALL_GOAL.words(worst)}")
    return STALL_GOAL.reached(worst) and not any(one.found.errors for one in found)

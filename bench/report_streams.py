"""The tables of `bench streams`: our stream server beside the reference, and beside the disk."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import ms, percentile
from bench.streams import DISK, Measured
from bench.streams_servers import OURS

MEGA = 1e6


def compared(console: Console, found: Sequence[Measured]) -> bool:
    """One line a side: median (least to most), ours as a multiple of it, CPU; then the goal."""
    table = Table(title=f"streams, {len(found[0].sides[OURS])} runs of each in turns")
    for column in ("", "side", "median", "range", "Onair / it", "CPU server", "CPU load"):
        table.add_column(column, justify="left" if column in {"", "side"} else "right")
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
        side if not errors else f"{side} ({errors} errors)",
        words[0],
        f"{words[1]} to {words[2]}",
        f"{ours / middle:.2f}" if middle and side != OURS else "",
        "" if side == DISK else _share([run.server_cpu for run in runs]),
        "" if side == DISK else _share([run.load_cpu for run in runs]),
    ]


def worded(measured: Measured, value: float) -> str:
    """A figure of that row, with its unit."""
    if measured.row.figure != "rate":
        return ms(value)
    return f"{value / MEGA:.0f} MB/s" if measured.row.kind == "read" else f"{value:.0f}"


def _share(shares: Sequence[float]) -> str:
    return f"{percentile(shares, 0.5) * 100:.0f} %"


def _verdict(console: Console, measured: Measured) -> bool:
    value, goal = percentile(measured.values(OURS), 0.5), measured.row.goal
    errors = sum(run.errors for run in measured.sides[OURS])
    console.print(
        f"{measured.row.name}: {worded(measured, value)}, goal {goal.words(value)}"
        + (f", {errors} errors" if errors else "")
    )
    return goal.reached(value) and not errors

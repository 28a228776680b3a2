"""What the benchmarks print: progress while they run, then one table with ratio and goal."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.table import Table

from bench.faults import CASES, Case, Loss
from bench.figures import Goal, Summary, ms, percentile
from bench.latency import STEPS, Latencies
from bench.playable import Times
from bench.throughput import Rates

LATENCY_GOAL = Goal(at_most=1.5)
RATE_GOAL = Goal(at_least=0.6)
PLAYABLE_GOAL = Goal(at_most=3.0)
STEP_WORDS = {
    "livemeta": "assigned (one transaction)",
    "mixer": "port told, FFmpeg being spawned",
    "janus": "forwarding",
}


class Progress:
    """One line on stderr, rewritten in a terminal; ``total`` None: steps are not counted."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._show("…" if self._total is None else f"0/{self._total}")
        return self

    def step(self) -> None:
        self._done += 1
        if self._terminal or self._done * 5 % (self._total or 1) < 5:
            self._show(f"{self._done}/{self._total}")

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self._show("done" if kind is None else "failed")
        if self._terminal:
            sys.stderr.write("\n")

    def _show(self, state: str) -> None:
        line = f"{self._what}: {state}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()


def machine() -> str:
    """Where and when: a figure without it says little."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return (
        f"{now} · {platform.system()} {platform.machine()}, {os.cpu_count()} cores · "
        f"Python {platform.python_version()} · load {load}"
    )


def latencies(console: Console, found: Latencies) -> bool:
    ours, raw = Summary.of(found.onair), Summary.of(found.raw)
    ratio = ours.p50 / raw.p50
    table = Table(title=f"start → forwarding, {ours.count} rooms and raw chains in turns")
    for column in ("", "p50", "p99", "worst"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("Onair", ms(ours.p50), ms(ours.p99), ms(ours.worst))
    table.add_row("raw chain", ms(raw.p50), ms(raw.p99), ms(raw.worst))
    table.add_row("ratio", f"{ratio:.2f}", f"{ours.p99 / raw.p99:.2f}", "", style="bold")
    table.add_section()
    for step in STEPS:
        at = Summary.of(found.steps[step])
        table.add_row(f"  seen: {STEP_WORDS[step]}", ms(at.p50), ms(at.p99), ms(at.worst))
    console.print(table)
    console.print(f"ratio at p50 {ratio:.2f}, goal {LATENCY_GOAL.words(ratio)}")
    return LATENCY_GOAL.reached(ratio)


def rates(console: Console, found: Rates) -> bool:
    table = Table(title=f"starts per second, {len(found.onair)} turns each")
    for column in ("", "median", "least", "most", "CPU each"):
        table.add_column(column, justify="left" if not column else "right")
    for name, turns in (("one room manager", found.onair), ("bare route", found.bare)):
        rate = [turn.per_second for turn in turns]
        cpu = percentile([turn.cpu_seconds for turn in turns], 0.5)
        row = (f"{percentile(rate, 0.5):.0f}", f"{min(rate):.0f}", f"{max(rate):.0f}")
        table.add_row(name, *row, f"{cpu * 1e3:.2f} ms")
    ratios = found.ratios()
    ratio = percentile(ratios, 0.5)
    row = (f"{ratio:.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}")
    table.add_row("ratio, turn by turn", *row, style="bold")
    console.print(table)
    console.print(f"ratio at the median turn {ratio:.2f}, goal {RATE_GOAL.words(ratio)}")
    return RATE_GOAL.reached(ratio)


def losses(console: Console, found: Mapping[str, Sequence[Loss]]) -> bool:
    """One row a fault, median / worst; then the goals, and what broke the rules of a playlist."""
    counts = {len(runs) for runs in found.values()}
    table = Table(title=f"kill -9, {max(counts)} each: median / worst, seconds")
    for column in ("", "silence", "missing", "in segments", "no tone", "onair again", "reloads"):
        table.add_column(column, justify="right" if column else "left")
    for name, runs in found.items():
        table.add_row(name, *_pairs(runs), str(sum(loss.reloads for loss in runs)))
    console.print(table)
    cases = [case for case in CASES if case.name in found]
    good = [_verdict(console, case, found[case.name]) for case in cases]
    return all(good)


def _verdict(console: Console, case: Case, runs: Sequence[Loss]) -> bool:
    lost = [loss.lost for loss in runs]
    median, worst = percentile(lost, 0.5), max(lost)
    console.print(
        f"{case.name}: lost {median:.1f} s at the median, goal {case.median.words(median)}; "
        f"worst {worst:.1f} s, goal {case.worst.words(worst)}"
    )
    wrong = sorted({words for loss in runs for words in loss.wrong})
    for line in wrong:
        console.print(f"{case.name}: {line}")
    reached = case.median.reached(median) and case.worst.reached(worst)
    return reached and not wrong and not any(loss.reloads for loss in runs)


def _pairs(runs: Sequence[Loss]) -> list[str]:
    columns = (
        [loss.silence for loss in runs],
        [loss.missing for loss in runs],
        [loss.segments for loss in runs],
        [loss.toneless for loss in runs],
        [loss.on_air for loss in runs],
    )
    return [f"{percentile(values, 0.5):.1f} / {max(values):.1f}" for values in columns]


def times(console: Console, found: Times) -> bool:
    table = Table(title=f"from start, {len(found.playable)} runs")
    for column in ("", "median", "worst"):
        table.add_column(column, justify="left" if not column else "right")
    rows = (("first playable segment", found.playable), ("status onair", found.on_air))
    for name, values in rows:
        table.add_row(name, f"{percentile(values, 0.5):.2f} s", f"{max(values):.2f} s")
    console.print(table)
    median = percentile(found.playable, 0.5)
    console.print(
        f"first playable {median:.2f} s at the median, goal {PLAYABLE_GOAL.words(median)}"
    )
    return PLAYABLE_GOAL.reached(median)

"""The tables of outage, drain, page and idle: rooms on air while something happens, or nothing."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from bench.crowd import Heard
from bench.drain import Drained
from bench.figures import Goal, percentile
from bench.idle import Turn
from bench.outage import CALLS, Cost
from bench.page import Page
from pkg.heartbeat import WRITE_SECONDS

NONE = Goal(at_most=0.0)
ADDED = Goal(at_most=1.0)
HEALTHY_GOAL = Goal(at_most=10.0)
SOME_CPU = 0.0005  # of a core; less is not shown


def outages(console: Console, found: Sequence[Cost]) -> bool:
    table = _table("etcd away, two of everything", *(f"{c.name} {c.away:g} s" for c in found))
    rows = (
        ("rooms on air before", [f"{c.rooms}" for c in found]),
        ("rooms lost", [f"{c.lost}" for c in found]),
        ("rooms moved", [f"{c.moved}" for c in found]),
        ("FFmpegs replaced", [f"{c.restarted}" for c in found]),
        ("other parts that ended", [f"{c.died}" for c in found]),
        ("audio missing, worst player", [f"{c.heard.missing:.1f} s" for c in found]),
        ("silence, worst player", [f"{c.heard.silence:.1f} s" for c in found]),
        ("reloads", [f"{c.heard.reloads}" for c in found]),
        ("etcd answers again after", [f"{c.answering:.1f} s" for c in found]),
        ("from there to healthy", [f"{c.healthy:.1f} s" for c in found]),
        ("keys written until then", [f"{c.writes:.0f}" for c in found]),
    )
    for name, values in rows:
        table.add_row(name, *values)
    table.add_section()
    for call in CALLS:
        table.add_row(f"asked meanwhile: {call}", *(_answers(c, call) for c in found))
    console.print(table)
    good = [_outage_verdict(console, cost) for cost in found]
    return all(good)


def _answers(cost: Cost, call: str) -> str:
    told = ", ".join(f"{n} x {status}" for status, n in cost.asker.answers[call].most_common())
    return f"{told}; slowest {cost.asker.slowest[call]:.1f} s"


def _outage_verdict(console: Console, cost: Cost) -> bool:
    changed = cost.lost + cost.moved + cost.restarted
    console.print(
        f"{cost.name}: rooms lost, moved or restarted {changed}, goal {NONE.words(changed)}; "
        f"healthy after {cost.healthy:.1f} s, goal {HEALTHY_GOAL.words(cost.healthy)}"
    )
    _heard(console, cost.name, cost.heard)
    return not changed and HEALTHY_GOAL.reached(cost.healthy) and cost.heard.nothing_lost


def _heard(console: Console, name: str, heard: Heard) -> None:
    lost = max(heard.missing, heard.silence)
    console.print(f"{name}: audio lost {lost:.1f} s, goal {NONE.words(lost)}")
    for words in heard.wrong:
        console.print(f"{name}: {words}")


def drains(console: Console, found: Sequence[Drained]) -> bool:
    table = _table("drain of a mixer, each room with a player", *(d.name for d in found))
    rows = (
        ("rooms moved / stayed", [f"{d.moved} / {d.stayed}" for d in found]),
        ("audio missing, worst player", [f"{d.heard.missing:.1f} s" for d in found]),
        ("silence, worst player", [f"{d.heard.silence:.1f} s" for d in found]),
        ("reloads", [f"{d.heard.reloads}" for d in found]),
        ("last one on air elsewhere after", [f"{d.on_air:.1f} s" for d in found]),
        ("old mixer empty after", [f"{d.empty:.1f} s" if d.empty else "-" for d in found]),
        ("new mixer: capacity", [f"{d.places.capacity}" for d in found]),
        ("  most places taken at once", [f"{d.places.slots}" for d in found]),
        ("  most FFmpegs at once", [f"{d.places.ffmpegs}" for d in found]),
    )
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)
    good = [_drain_verdict(console, drained) for drained in found]
    return all(good)


def _drain_verdict(console: Console, drained: Drained) -> bool:
    if drained.waited:
        console.print(f"{drained.name}: `modules drain` said: waits: {drained.waited}")
        console.print(f"{drained.name}: the room's explain said: {drained.said}")
    if drained.places.exceeded:
        console.print(f"{drained.name}: capacity exceeded: {drained.places}")
    _heard(console, drained.name, drained.heard)
    return drained.heard.nothing_lost and not drained.places.exceeded


def pages(console: Console, found: Mapping[str, Page]) -> bool:
    table = Table(title="hls.js in Chromium, kill -9")
    for column in ("", "longest stall", "all stalls", "advances again", "reloads", "fatal errors"):
        table.add_column(column, justify="right" if column else "left")
    for name, page in found.items():
        heard = page.heard
        again = "yes" if heard.advances else "NO"
        stalls = (f"{heard.longest_stall:.1f} s", f"{heard.stalled:.1f} s")
        table.add_row(name, *stalls, again, f"{heard.reloads}", f"{heard.fatal}")
    console.print(table)
    for name, page in found.items():
        console.print(f"{name}: hls.js met {', '.join(page.errors) or 'no error'}")
    good = all(page.heard.advances and not page.heard.reloads for page in found.values())
    console.print(f"every page plays on without a reload: {'reached' if good else 'NOT reached'}")
    return good


def visits(
    console: Console, found: Mapping[str, Sequence[float]], goals: Mapping[str, Goal]
) -> bool:
    """Goals are for the median."""
    table = _table("studio and listen page in Chromium, seconds", "median", "worst", "goal")
    good = True
    for what, values in found.items():
        median = percentile(values, 0.5)
        goal = goals.get(what)
        good &= goal is None or goal.reached(median)
        words = goal.words(median) if goal else ""
        table.add_row(what, f"{median:.2f}", f"{max(values):.2f}", words)
    console.print(table)
    return good


def idle(console: Console, turns: Sequence[Turn]) -> bool:
    table = _table("nothing changes: etcd and CPU", *(f"{turn.rooms} rooms" for turn in turns))
    rates = (
        ("keys written a second", [turn.keys for turn in turns]),
        ("entries of etcd's log a second", [turn.entries for turn in turns]),
        ("renewals of leases a second", [turn.renewals for turn in turns]),
    )
    for name, values in rates:
        table.add_row(name, *(f"{value:.3f}" for value in values))
    table.add_section()
    for part in sorted({part for turn in turns for part in turn.cpu}):
        shares = [turn.cpu.get(part, 0.0) for turn in turns]
        if max(shares) > SOME_CPU:
            table.add_row(f"CPU {part}", *(f"{share:.1%}" for share in shares))
    console.print(table)
    return _idle_verdict(console, turns)


def _idle_verdict(console: Console, turns: Sequence[Turn]) -> bool:
    """In whole writes: a heartbeat may fall into the one turn and not into the other."""
    none, some = (round(turn.keys * turn.seconds) for turn in turns)
    added = max(0, some - none)
    console.print(
        f"{none} keys were written without rooms: each module writes its heartbeat anew every "
        f"{WRITE_SECONDS:g} s, on purpose; rooms on air added {added}, goal {ADDED.words(added)}"
    )
    return ADDED.reached(added)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    return table

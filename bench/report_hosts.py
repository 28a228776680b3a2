"""The tables of hosts and sockets: what the gateway costs who joins, and what a crowd costs it."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import Goal, Summary, ms
from bench.hosts import STEPS, Joins
from bench.sockets import Turn

JOIN_GOAL = Goal(at_most=1.15)
ANSWER_GOAL = Goal(at_most=1.0)  # seconds: then a host would notice
REFUSED_GOAL = Goal(at_most=0.0)


def joins(console: Console, found: Joins) -> bool:
    ours, direct = Summary.of(found.gateway), Summary.of(found.direct)
    ratio = ours.p50 / direct.p50
    table = Table(title=f"from connecting to sound, {ours.count} hosts each way in turns")
    for column in ("", "p50", "p99", "worst"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("through the gateway", ms(ours.p50), ms(ours.p99), ms(ours.worst))
    table.add_row("at Janus directly", ms(direct.p50), ms(direct.p99), ms(direct.worst))
    table.add_row("ratio", f"{ratio:.2f}", f"{ours.p99 / direct.p99:.2f}", "", style="bold")
    table.add_section()
    for step in STEPS[:-1]:
        at = Summary.of(found.steps[step])
        table.add_row(f"  gateway: {step}", ms(at.p50), ms(at.p99), ms(at.worst))
    at = Summary.of(found.answered)
    table.add_row("  directly: answered", ms(at.p50), ms(at.p99), ms(at.worst))
    console.print(table)
    console.print(f"ratio of medians {ratio:.2f}, goal {JOIN_GOAL.words(ratio)}")
    return JOIN_GOAL.reached(ratio)


def sockets(console: Console, turns: Sequence[Turn]) -> bool:
    table = Table(title="a crowd at the gateway, two hosts talk")
    for column in ("", *(turn.name for turn in turns)):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("sockets", *(str(len(turn.opened)) for turn in turns))
    table.add_row("until the last is answered", *(f"{turn.seconds:.2f} s" for turn in turns))
    for name, share in (("p50", "p50"), ("p99", "p99"), ("worst", "worst")):
        table.add_row(f"connect, {name}", *(_connect(turn, share) for turn in turns))
    table.add_row("refused", *(str(_refused(turn)) for turn in turns))
    table.add_row("memory each", *(_memory(turn) for turn in turns))
    table.add_row("CPU each", *(_cpu(turn) for turn in turns))
    table.add_section()
    for name in ("p50", "p99", "worst"):
        answers = [getattr(Summary.of(turn.watch.answers), name) for turn in turns]
        table.add_row(f"a host's RPC answer, {name}", *map(ms, answers))
    table.add_row("hosts hear each other", *("yes" if t.watch.heard else "NO" for t in turns))
    console.print(table)
    worst = max(max(turn.watch.answers) for turn in turns)
    refused = sum(_refused(turn) for turn in turns)
    console.print(
        f"longest answer a host waited for {ms(worst)}, goal in s {ANSWER_GOAL.words(worst)}; "
        f"refused {refused}, goal {REFUSED_GOAL.words(refused)}"
    )
    heard = all(turn.watch.heard for turn in turns)
    return heard and ANSWER_GOAL.reached(worst) and REFUSED_GOAL.reached(refused)


def _answered(turn: Turn) -> list[float]:
    return [one.seconds for one in turn.opened if one.status]


def _connect(turn: Turn, share: str) -> str:
    answered = _answered(turn)
    return ms(getattr(Summary.of(answered), share)) if answered else ""


def _refused(turn: Turn) -> int:
    return sum(one.status not in (0, 101) for one in turn.opened)


def _memory(turn: Turn) -> str:
    return f"{turn.bytes_each / 1024:.1f} KiB" if turn.opened else ""


def _cpu(turn: Turn) -> str:
    return ms(turn.cpu / turn.sockets) if turn.opened else ""

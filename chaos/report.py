"""What a run says at its end: faults by what they did, then each violation in full. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chaos.schedule import Kind

# What is checked, in the order of the table's columns; docs/invariants.md has the whole list.
LISTS = "lists"  # etcd, Janus, processes, folders and acknowledged calls agree again
ORDER = "order"  # no playlist went back, no segment changed its name or its number
AUDIO = "audio"  # no more of it missing than the fault allows
ALWAYS = "always"  # what must hold at every moment, while things are broken, too
CALLS = "calls"  # answers that the API gives
CHECKS = (LISTS, ORDER, AUDIO, ALWAYS, CALLS)


@dataclass(frozen=True, slots=True)
class Violation:
    check: str
    says: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fault and what followed. ``converged``: seconds from its end until all agreed again;
    ``missing`` and ``silence``: seconds, of the listener who fared worst; ``allowed``: how much
    might have been missing."""

    number: int
    kind: Kind
    victim: str
    converged: float
    missing: float
    silence: float
    allowed: float
    violations: tuple[Violation, ...] = ()


@dataclass
class Report:
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    ending: list[Violation] = field(default_factory=list)  # found before the first or at the end
    calls: dict[str, int] = field(default_factory=dict)  # "start 200" → how often

    @property
    def violations(self) -> int:
        return len(self.ending) + sum(len(o.violations) for o in self.outcomes)

    @property
    def exit_code(self) -> int:
        """
        >>> Report().exit_code, Report(ending=[Violation(LISTS, "a key too many")]).exit_code
        (0, 1)
        """
        return 1 if self.violations else 0


def line(outcome: Outcome) -> str:
    """One fault's end, as it is shown while the run goes on."""
    said = (
        f"all agreed after {outcome.converged:.1f} s; audio missing {outcome.missing:.1f} s, "
        f"silence {outcome.silence:.1f} s"
    )
    return said if not outcome.violations else f"{said}; {len(outcome.violations)} VIOLATIONS"


def show(report: Report) -> RenderableType:
    calls = ", ".join(f"{what}: {n}" for what, n in sorted(report.calls.items()))
    return Group(
        table(report),
        Text(f"calls   {calls or 'none'}"),
        *(Text(f"left out: {text}", "yellow") for text in report.skipped),
        *violations(report),
        verdict(report),
    )


def table(report: Report) -> Table:
    """A row for each kind of fault: how often, how bad at worst, how many violations of what."""
    shown = Table("FAULT", "TIMES", "CONVERGED", "MISSING", "SILENCE", *_heads(), box=None)
    for kind in dict.fromkeys(outcome.kind for outcome in report.outcomes):
        same = [outcome for outcome in report.outcomes if outcome.kind == kind]
        shown.add_row(
            kind.name,
            str(len(same)),
            f"{max(o.converged for o in same):.1f} s",
            f"{max(o.missing for o in same):.1f} of {max(o.allowed for o in same):g} s",
            f"{max(o.silence for o in same):.1f} s",
            *(_count([v for o in same for v in o.violations], check) for check in CHECKS),
        )
    shown.add_row("at the end", "1", "", "", "", *(_count(report.ending, c) for c in CHECKS))
    return shown


def violations(report: Report) -> list[Text]:
    told = [
        (f"#{outcome.number} {outcome.kind.name} ({outcome.victim})", violation)
        for outcome in report.outcomes
        for violation in outcome.violations
    ] + [("at the end", violation) for violation in report.ending]
    return [Text(f"{v.check:<7} {where}: {v.says}", "red") for where, v in told]


def verdict(report: Report) -> Text:
    many = len(report.outcomes)
    faults = f"{many} fault" if many == 1 else f"{many} faults"
    if report.violations:
        return Text(f"{faults}, {report.violations} VIOLATIONS", "bold red")
    return Text(f"{faults}, 0 violations, nothing left over", "bold green")


def _heads() -> list[str]:
    return [check.upper() for check in CHECKS]


def _count(found: Sequence[Violation], check: str) -> Text:
    many = sum(violation.check == check for violation in found)
    return Text(str(many), "red" if many else "green")

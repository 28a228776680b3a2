"""``./onair test`` and ``./onair verify``: what CI runs, the same at a desk."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cli.statedir import ROOT

PYTHON = (sys.executable, "-P", "-m")
# tests/conftest.py says what belongs together, and in which order.
SCHEDULE = ("--dist", "loadscope", "--no-loadscope-reorder")
CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", (*PYTHON, "ruff", "check", ".")),
    ("ruff format", (*PYTHON, "ruff", "format", "--check", ".")),
    ("mypy", (*PYTHON, "mypy")),
    ("import contracts", (str(Path(sys.executable).with_name("lint-imports")),)),
)


def test(args: Sequence[str]) -> int:
    """pytest with our defaults; pytest's last line is the last line, its exit code ours."""
    return subprocess.run(
        [*PYTHON, "pytest", *defaults(args), *args], cwd=ROOT, check=False
    ).returncode


def defaults(args: Sequence[str]) -> list[str]:
    """One worker more than cores, for most tests wait; a worker count or a debugger is obeyed.

    >>> defaults(["-k", "plan"])[0], defaults(["-n0"]), defaults(["--pdb"])
    ('-n', [], [])
    """
    own = ("-n", "--numprocesses", "--pdb", "--trace", "--dist", "-s", "--collect-only", "--co")
    if any(arg.startswith(("-n", "--numprocesses")) or arg in own for arg in args):
        return []
    return ["-n", str(min((os.cpu_count() or 1) + 1, 8)), *SCHEDULE]


def verify() -> int:
    """Everything CI checks besides tests; goes on after a failure, so that one run shows all."""
    console = Console(stderr=True, highlight=False)
    failed = []
    for name, argv in CHECKS:
        console.print(f"[bold]{name}[/]")
        if subprocess.run(list(argv), cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    console.print(f"[red]failed: {', '.join(failed)}[/]" if failed else "[green]all good[/]")
    return 1 if failed else 0

"""All planted bugs, and the table of what catches them: ``python -m tests.planted.table``."""

from collections.abc import Iterator
from pathlib import Path

from tests.planted import bugs_media, bugs_pkg, bugs_rooms

BUGS = (*bugs_pkg.BUGS, *bugs_rooms.BUGS, *bugs_media.BUGS)
README = Path(__file__).with_name("README.md")


def table() -> str:
    """Markdown, one row a bug."""
    return "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    yield "| # | Planted | Breaks | Where | Caught by |"
    yield "| --- | --- | --- | --- | --- |"
    for number, bug in enumerate(BUGS, 1):
        where = "<br>".join(f"`{swap.where}`" for swap in bug.swaps)
        caught = "<br>".join(f"`{check.name}`" for check in bug.caught_by)
        yield f"| {number} | {bug.name} | {bug.breaks} | {where} | {caught} |"


if __name__ == "__main__":
    print(table(), end="")

"""Virtual time for the controllers' tests: when every task sleeps, the clock jumps.

What takes long comes first; a file's tests stay on one of xdist's workers (``Scheduler``).

At the end of a run: the figures that tests noted, and how many bad inputs were tried
(tests/security notes them as ``cases``).
"""

from collections.abc import Callable, Generator
from typing import Protocol, TypeAlias, runtime_checkable

import pytest
import trio.testing
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

Figure: TypeAlias = Callable[[str, object], None]
ORDER = (
    *("browser", "faults", "integration", "e2e", "streams", "crash", "contract", "watch"),
    *("security", "simulation", "planted", "unit"),
)
# Nothing is shared by a file's tests there: each where there is room.
ALONE = ("faults", "e2e", "simulation", "planted")


@runtime_checkable
class Logged(Protocol):
    """A fixture whose parts say something."""

    def logs(self) -> dict[str, str]: ...


@pytest.fixture
def anyio_backend() -> object:
    """Overridden by folders whose parts (grpc, WebSockets) need asyncio and real time."""
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note a measured figure; all of them are shown at the end of the run."""

    def note(name: str, value: object) -> None:
        request.node.user_properties.append((name, str(value)))

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what each part said last, when a test failed."""
    report = yield
    if report.failed:
        for fixture in getattr(item, "funcargs", {}).values():
            if isinstance(fixture, Logged):
                report.sections += fixture.logs().items()
    return report


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A worker takes a whole file, the only browser tests at once are one worker's, and what shares
    nothing is handed out test by test. (xdist's own groups are lost with pytest 9.2, which renamed
    where xdist 3.8 writes them.)
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = _folder(nodeid)
        if folder == "browser":
            return folder
        return nodeid if folder in ALONE else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduler | None:
    """For ``--dist loadscope`` (``./onair test``)."""
    return Scheduler(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders in ``ORDER``, doctests last; within them as they were found."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = _folder(item.nodeid)
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


def _folder(nodeid: str) -> str:
    """
    >>> _folder("tests/e2e/test_walk.py::test_walk"), _folder("pkg/keys.py::x")
    ('e2e', 'pkg')
    """
    parts = nodeid.split("/")
    return parts[1] if parts[0] == "tests" else parts[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Over all of xdist's workers, too."""
    ended = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    noted = [
        (report.nodeid.rpartition("/")[2], name, value)
        for report in ended
        if report.when == "call"
        for name, value in report.user_properties
    ]
    cases = {test: int(value) for test, name, value in noted if name == "cases"}
    for test, name, value in noted:
        if name != "cases":
            terminalreporter.write_line(f"{test}: {name}: {value}")
    if cases:
        terminalreporter.write_line(f"security corpus: {sum(cases.values())} cases")
        for test, count in cases.items():
            terminalreporter.write_line(f"  {count:5} {test}")

"""Virtual time for the controllers' tests: when every task sleeps, the clock jumps.

What takes long comes first. A file's tests should stay on one of xdist's workers, and all browser
tests on one: pytest 9.2 with xdist 3.8 takes no notice of the groups (it has renamed what xdist
writes them to), so that workers take turns at the browser by a lock (tests/browser/conftest.py).

At the end of a run: how many bad inputs were tried (tests/security notes them as ``cases``).
"""

import pytest
import trio.testing

ALONE = ("simulation", "planted")  # they share nothing: each test where there is room
ORDER = (
    *("browser", "faults", "integration", "e2e", "crash", "contract", "watch", "security"),
    *(*ALONE, "unit"),
)


@pytest.fixture
def anyio_backend() -> object:
    """Overridden by folders whose parts (grpc, WebSockets) need asyncio and real time."""
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders in ``ORDER``, doctests last; within them as they were found."""
    items.sort(key=_rank)
    for item in items:
        folder = _folder(item)
        if folder not in ALONE:
            group = folder if folder == "browser" else item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))


def _rank(item: pytest.Item) -> int:
    folder = _folder(item)
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


def _folder(item: pytest.Item) -> str:
    """
    >>> from types import SimpleNamespace as N
    >>> _folder(N(nodeid="tests/e2e/test_walk.py::test_walk")), _folder(N(nodeid="pkg/keys.py::x"))
    ('e2e', 'pkg')
    """
    parts = item.nodeid.split("/")
    return parts[1] if parts[0] == "tests" else parts[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Over all of xdist's workers, too."""
    found = {
        report.nodeid.rpartition("/")[2]: int(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if report.when == "call" and name == "cases"
    }
    if found:
        terminalreporter.write_line(f"security corpus: {sum(found.values())} cases")
        for test, count in found.items():
            terminalreporter.write_line(f"  {count:5} {test}")

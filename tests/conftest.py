"""Virtual time for the controllers' tests: when every task sleeps, the clock jumps.

At the end of a run: how many bad inputs were tried (tests/security notes them as ``cases``).
"""

import pytest
import trio.testing


@pytest.fixture
def anyio_backend() -> object:
    """Overridden by folders whose parts (grpc, WebSockets) need asyncio and real time."""
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


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

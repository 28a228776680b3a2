"""Fixtures of the end-to-end tests: a whole Onair each, and its logs in a failure's report."""

from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack

Figure: TypeAlias = Callable[[str, object], None]
__all__ = ["etcd_namespace", "etcd_url"]


@pytest.fixture
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@pytest.fixture
async def stack(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    tmp_path: Path,
    etcd_url: str,
    etcd_namespace: str,
) -> AsyncGenerator[Stack]:
    """With one room manager, or with as many as an indirect parameter says."""
    managers = getattr(request, "param", 1)
    async with stacks.running(
        tmp_path, etcd_url, etcd_namespace, room_managers=managers
    ) as running:
        yield running


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note a measured figure; all of them are shown at the end of the run."""

    def note(name: str, value: object) -> None:
        request.node.user_properties.append((name, str(value)))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call" and "tests/e2e" in report.nodeid:
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what each part said last, when a test with a stack failed."""
    report = yield
    found = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(found, Stack):
        report.sections += list(found.logs().items())
    return report

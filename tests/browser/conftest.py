"""Fixtures of the pages' tests: one Onair and two browsers, shared by all of them.

Two cores carry no second such thing beside it, so that xdist's workers take turns (a lock). Each
test has rooms of its own names; who kills a part starts it again.
"""

import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from playwright.async_api import async_playwright

from bench.chromium import launched
from tests.browser.house import House
from tests.support import stack as stacks
from tests.support.etcd import etcd_url, shared_directory

Figure: TypeAlias = Callable[[str, object], None]
TURN_SECONDS = 0.2
__all__ = ["etcd_url"]


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@asynccontextmanager
async def _my_turn(path: Path) -> AsyncGenerator[None]:
    """Nobody else holds the lock meanwhile; it ends with this process, however that ends."""
    with path.open("w") as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await anyio.sleep(TURN_SECONDS)
        yield


@pytest.fixture(scope="package")
async def shared(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, etcd_url: str
) -> AsyncGenerator[House]:
    folder = tmp_path_factory.mktemp("browser")
    namespace = f"/test-browser-{os.urandom(6).hex()}"
    async with AsyncExitStack() as house:
        enter = house.enter_async_context
        await enter(_my_turn(shared_directory(tmp_path_factory) / "browser.lock"))
        stack = await enter(stacks.running(folder, etcd_url, namespace, mixers=2, gateways=2))
        driver = await enter(async_playwright())
        browsers = {hertz: await enter(launched(driver, folder, hertz)) for hertz in (660, 440)}
        yield House(stack, browsers)


@pytest.fixture
async def house(shared: House) -> AsyncGenerator[House]:
    """Whatever a test opens is closed; nothing it opened may have gone against the policy."""
    async with shared.visits():
        yield shared
    assert shared.complaints == []


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note a measured figure; all of them are shown at the end of the run."""

    def note(name: str, value: object) -> None:
        request.node.user_properties.append((name, str(value)))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call" and "tests/browser" in report.nodeid:
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what each part said last, when a test failed."""
    report = yield
    found = getattr(item, "funcargs", {}).get("shared")
    if report.failed and isinstance(found, House):
        report.sections += list(found.stack.logs().items())
    return report

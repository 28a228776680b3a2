"""Fixtures of the pages' tests: one Onair and two browsers, shared by all of them.

Two cores carry no second such thing beside it: all of them run on one of xdist's workers
(tests/conftest.py). Each test has rooms of its own names; who kills a part starts it again.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import async_playwright

from bench.chromium import launched
from tests.browser.house import House, streams
from tests.support import stack as stacks
from tests.support.etcd import etcd_url

__all__ = ["etcd_url"]


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    """Real parts, real time."""
    return "asyncio"


@pytest.fixture(scope="package")
async def shared(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, etcd_url: str
) -> AsyncGenerator[House]:
    folder = tmp_path_factory.mktemp("browser")
    namespace = f"/test-browser-{os.urandom(6).hex()}"
    async with AsyncExitStack() as house:
        enter = house.enter_async_context
        server, told = house.enter_context(streams(folder))
        parts = stacks.running(folder, etcd_url, namespace, mixers=2, gateways=2, settings=told)
        stack = await enter(parts)
        driver = await enter(async_playwright())
        browsers = {hertz: await enter(launched(driver, folder, hertz)) for hertz in (660, 440)}
        yield House(stack, server, browsers)


@pytest.fixture
async def house(shared: House) -> AsyncGenerator[House]:
    """Whatever a test opens is closed; nothing it opened may have gone against the policy."""
    async with shared.visits():
        yield shared
    assert shared.complaints == []

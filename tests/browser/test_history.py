"""A room's history on the console: what comes is shown at once, and a stream server that is away
is said calmly, costs nothing else, and is not missed for long."""

import pytest
from playwright.async_api import Page, expect

from bench.chromium import PATIENCE_MS
from tests.browser.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]
AWAY = "The history is away just now"


async def shows(page: Page, words: str, count: int = 1) -> None:
    """So many events, in these words, are shown."""
    found = page.locator(".history .what").get_by_text(words, exact=True)
    await expect(found).to_have_count(count, timeout=PATIENCE_MS)


async def test_it_is_followed_and_survives_its_server(house: House) -> None:
    await house.on_air("told")
    page = await house.console(room="told")
    await shows(page, "Created")
    await shows(page, "On air")
    house.streams.kill()
    try:
        await expect(page.locator("#room")).to_contain_text(AWAY, timeout=PATIENCE_MS)
        await page.locator("#room").get_by_role("button", name="Stop", exact=True).click()
        badge = page.locator("#room .badge").first
        await expect(badge).to_have_text("off air", timeout=PATIENCE_MS)
        await shows(page, "Created")
    finally:
        house.streams.start()
    await shows(page, "Stopped")
    await expect(page.locator("#room")).not_to_contain_text(AWAY)
    await expect(page.locator(".history .what").first).to_have_text("Stopped")
    await house.stack.start("told")
    await shows(page, "On air", 2)
    await older(page)
    for words in ("Created", "Stopping", "Stopped"):
        await shows(page, words)


async def older(page: Page) -> None:
    """Ten are shown until more are asked for."""
    await expect(page.locator(".history li")).to_have_count(10)
    await shows(page, "Created", 0)
    await page.get_by_role("button", name="Show older").click()

"""Everybody can use the pages: axe-core in the main states, both themes, phone and desktop; and
what a page weighs."""

import re

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Response, expect

from bench.chromium import DESKTOP, PATIENCE_MS, PHONE
from bench.visitors import Studio
from tests.browser.house import House
from tests.conftest import Figure

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]
GRAVE = ("serious", "critical")
WEIGHT_LIMIT = 200_000  # bytes, packed; a third of it is hls.js


async def look_at(page: Page, state: str) -> list[str]:
    """Grave findings, in both themes and both sizes."""
    found = []
    for screen in (PHONE, DESKTOP):
        await page.set_viewport_size({"width": screen.width, "height": screen.height})
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            results = await Axe().run(page)
            found += [
                f"{state}, {theme}, {screen.width}: {one['id']}: {node['html']}"
                for one in results.response["violations"]
                if one["impact"] in GRAVE
                for node in one["nodes"]
            ]
        if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{state}, {screen.width}: scrolls sideways")
    return found


async def test_the_console(house: House) -> None:
    page = await (await house.somebody()).new_page()
    await page.goto(house.api)
    await expect(page.get_by_label("API key")).to_be_visible()
    found = await look_at(page, "key")
    page = await house.console()
    found += await look_at(page, "no room")
    await house.on_air("axe")
    ann = await house.host("axe", "ann")
    await ann.go_live()
    await page.get_by_role("button", name="axe", exact=True).click()
    await page.get_by_label("Invite a host").fill("bob")
    await page.get_by_role("button", name="Make the link").click()
    await expect(page.locator("#room")).to_contain_text("live", timeout=PATIENCE_MS)
    await expect(page.locator(".history")).to_contain_text("ann joined", timeout=PATIENCE_MS)
    found += await look_at(page, "a room")
    await page.get_by_role("button", name="Delete").click()
    found += await look_at(page, "a question")
    assert found == []


async def test_the_studio(house: House) -> None:
    await house.on_air("axe-2")
    page = await (await house.somebody()).new_page()
    await page.goto(f"{house.api}/studio/axe-2")
    await Studio(page).says("You need an invitation")
    found = await look_at(page, "no invitation")
    bob = await house.host("axe-2", "bob", hertz=440)
    await bob.go_live()
    ann = await house.host("axe-2", "ann", "air", "moderate")
    found += await look_at(ann.page, "before")
    await ann.go_live()
    await expect(ann.page.locator("#people li")).to_have_count(2)
    await ann.click("Mute")
    found += await look_at(ann.page, "muted")
    await ann.click("Stop the broadcast")
    found += await look_at(ann.page, "a question")
    assert found == []


async def test_the_listen_page(house: House) -> None:
    await house.on_air("axe-3", pin="4711")
    listener = await house.listener("axe-3")
    found = await look_at(listener.page, "idle")
    await listener.play()
    await listener.says("This room has a PIN.")
    found += await look_at(listener.page, "PIN")
    await listener.page.get_by_label("PIN of this room").fill("4711")
    await listener.page.get_by_role("button", name="Listen").click()
    await listener.says("Live")
    found += await look_at(listener.page, "live")
    await listener.page.goto(f"{house.api}/nowhere")
    await expect(listener.page.locator("body")).to_contain_text(re.compile("."))
    found += await look_at(listener.page, "nothing there")
    assert found == []


async def test_what_a_page_weighs(house: House, figure: Figure) -> None:
    await house.stack.create("light")
    for name in ("/", "/studio/light", "/listen/light"):
        requests, weight = await weigh(await (await house.somebody()).new_page(), house.api + name)
        figure(f"{name}, {requests} requests, packed bytes", weight)
        assert weight < WEIGHT_LIMIT


async def weigh(page: Page, url: str) -> tuple[int, int]:
    """How many requests, and the bytes of their bodies as they came over the wire."""
    loaded: list[Response] = []
    page.on("response", lambda response: loaded.append(response))
    await page.goto(url, wait_until="networkidle")
    sizes = [await response.request.sizes() for response in loaded]
    return len(loaded), sum(size["responseBodySize"] for size in sizes)

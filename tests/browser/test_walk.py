"""The whole way: console, studio, listen page; by mouse, and once by keyboard alone."""

import re

import pytest
from playwright.async_api import Page, expect

from bench.chromium import PATIENCE_MS
from bench.visitors import Listener, Studio, only, since
from tests.browser.house import House
from tests.conftest import Figure

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]

# A browser that has not been asked for the microphone yet.
NEVER_ASKED = """navigator.permissions.query = async () => ({ state: "prompt" });"""


async def test_from_the_console_to_a_listener(house: House, figure: Figure) -> None:
    console = await (await house.somebody()).new_page()
    await console.goto(house.api)
    await console.get_by_label("API key").fill(house.stack.site.api_key)
    await console.get_by_role("button", name="Open the console").click()
    await create(console, "walk")
    listener = await house.listener("walk")
    await listener.play()
    await listener.says(re.compile("Not on air yet"))
    context = await house.somebody()
    await context.add_init_script(NEVER_ASKED)
    link = await invite(console, "ann")
    page = await context.new_page()
    await page.goto(link)
    await page.get_by_role("button", name="Use my microphone").click()
    ann = Studio(page)
    await ann.is_ready()
    await meter_moves(page)
    clicked = await ann.go_live()
    figure("go live in a room off air, click to heard, s", await since(clicked, listener.page))
    await listener.says("Live")
    heard = await only(listener.page, 660)
    figure("heard on the listen page", heard)
    await listener.goes_on()
    bob = await house.host("walk", "bob", hertz=440)
    clicked = await bob.go_live()
    figure("click to heard in the room, s", await since(clicked, ann.page, 440))
    figure("click to heard on HLS, s", await since(clicked, listener.page, 440))
    await expect(console.locator("#room")).to_contain_text("bob", timeout=PATIENCE_MS)
    await expect(console.locator("#room .badge").first).to_have_text("on air")


async def create(console: Page, room: str) -> None:
    await console.get_by_label("Name").fill(room)
    await console.get_by_role("button", name="Create room").click()
    await expect(console.locator("#room h2")).to_have_text(room)


async def invite(console: Page, user: str) -> str:
    await console.get_by_label("Invite a host").fill(user)
    await console.get_by_role("button", name="Make the link").click()
    link = console.get_by_label("Studio link")
    await expect(link).to_be_visible()
    return await link.input_value()


async def meter_moves(page: Page) -> None:
    await expect(page.locator("#meter")).to_have_attribute(
        "style", re.compile(r"--level: (0\.[1-9]|1)"), timeout=PATIENCE_MS
    )


async def test_the_key_of_the_address_leaves_it(house: House) -> None:
    console = await house.console()
    assert console.url == f"{house.api}/"
    await console.reload()
    await expect(console.locator("#desk")).to_be_visible(timeout=PATIENCE_MS)


async def test_the_whole_way_by_keyboard(house: House) -> None:
    link = await invited_by_keyboard(house)
    context = await house.somebody()
    await context.add_init_script(NEVER_ASKED)
    ann = Studio(await context.new_page())
    await live_by_keyboard(ann, link)
    listener = Listener(await (await house.somebody()).new_page())
    await listener.page.goto(f"{house.api}/listen/keys")
    await tab_to(listener.page, "play")
    await listener.page.keyboard.press("Space")
    await listener.says("Live")
    await stop_by_keyboard(ann)
    await listener.says(re.compile("The broadcast has ended"))


async def invited_by_keyboard(house: House) -> str:
    console = await (await house.somebody()).new_page()
    await console.goto(house.api)
    await console.keyboard.type(house.stack.site.api_key)  # the field has the focus
    await console.keyboard.press("Enter")
    await expect(console.locator("#desk")).to_be_visible(timeout=PATIENCE_MS)
    await tab_to(console, "new-id")
    await console.keyboard.type("keys")
    await console.keyboard.press("Enter")
    await expect(console.locator("#room h2")).to_have_text("keys")
    await tab_to(console, "invitee")
    await console.keyboard.type("ann")
    await console.keyboard.press("Enter")
    return await console.get_by_label("Studio link").input_value()


async def live_by_keyboard(ann: Studio, link: str) -> None:
    page = ann.page
    await page.goto(link)
    await tab_to(page, "allow")
    await page.keyboard.press("Enter")
    await expect(page.locator("#go")).to_be_focused(timeout=PATIENCE_MS)
    await page.keyboard.press("Enter")
    await ann.is_live()


async def stop_by_keyboard(ann: Studio) -> None:
    page = ann.page
    await tab_to(page, "mute")
    await page.keyboard.press("Space")
    await expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    await tab_to(page, "stop")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")  # the dialog's first button
    await ann.says("The broadcast has ended.")


async def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the element with this id has the focus."""
    for _ in range(40):
        if await page.locator(f"#{wanted}").evaluate("(it) => it === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to #{wanted}")

"""Hosts in their studios: they hear each other, are muted, asked, removed, taken over."""

import pytest
from playwright.async_api import expect

from bench.visitors import Studio, only, silence, tone
from tests.browser.house import House, close_codes
from tests.conftest import Figure

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]


async def test_hosts_hear_each_other_until_one_is_muted(house: House, figure: Figure) -> None:
    await house.on_air("duo")
    ann = await house.host("duo", "ann", "air", "moderate", hertz=660)
    bob = await house.host("duo", "bob", hertz=440)
    await bob.go_live()
    clicked = await ann.go_live()
    figure("click to heard in the room, s", round(await tone(bob.page, 660) - clicked, 2))
    heard = await only(bob.page, 660), await only(ann.page, 440)
    figure("heard by bob and by ann", heard)
    await expect(ann.page.locator("#people li")).to_have_count(2)
    await bob.click("Mute")
    await silence(ann.page, 440)
    await expect(ann.page.locator("#people")).to_contain_text("muted")
    await ann.page.get_by_role("button", name="Ask to unmute bob").click()
    await bob.says("ann asks you to unmute yourself")
    await bob.click("Unmute")
    await only(ann.page, 440)


async def test_who_was_removed_does_not_come_back(house: House) -> None:
    await house.on_air("kick")
    ann = await house.host("kick", "ann", "air", "moderate")
    link = await house.link("kick", "bob")
    bob = await Studio.enter(await house.somebody(440), link)
    await bob.go_live()
    await ann.go_live()
    await ann.page.get_by_role("button", name="Remove bob").click()
    await bob.says("A moderator has removed you from the room.")
    assert await close_codes(bob.page) == [4403]
    await expect(bob.page.locator("#go")).to_be_hidden()
    await expect(ann.page.locator("#people li")).to_have_count(1)
    await bob.page.goto(link)
    await bob.says("Your invitation has run out, or was taken back. Ask for a new link.")


async def test_a_second_tab_asks_before_it_takes_over(house: House) -> None:
    await house.on_air("twice")
    link = await house.link("twice", "ann")
    first = await Studio.enter(await house.somebody(), link)
    second = await Studio.enter(await house.somebody(), link)
    await first.go_live()
    await second.page.locator("#go").click()
    await second.says("You are already in this room in another tab or on another device.")
    await second.click("Join here")
    await second.is_live()
    await first.says("You have joined from another tab or device; this one is out.")
    assert await close_codes(first.page) == [4410]
    assert await close_codes(second.page) == [4409]


async def test_a_moderator_mutes_and_the_host_unmutes(house: House) -> None:
    await house.on_air("hush")
    ann = await house.host("hush", "ann", "air", "moderate")
    bob = await house.host("hush", "bob", hertz=440)
    await bob.go_live()
    await ann.go_live()
    await tone(ann.page, 440)
    await ann.page.get_by_role("button", name="Mute bob").click()
    await bob.says("ann has muted you")
    await silence(ann.page, 440)
    await bob.click("Unmute")
    await tone(ann.page, 440)

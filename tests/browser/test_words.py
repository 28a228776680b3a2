"""What the pages say when something is not as it should be: nobody is left with a silent page."""

import re

import pytest
from playwright.async_api import expect

from bench.chromium import PATIENCE_MS
from bench.visitors import Listener, Studio, only
from tests.browser.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]
ONLY_TURN = """window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) {
    super({ ...given, iceTransportPolicy: "relay" });
  }
};"""
REFUSES = """navigator.permissions.query = async () => ({ state: "prompt" });
if (navigator.mediaDevices) {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "ERROR"); };
}"""


async def test_a_room_with_a_pin(house: House) -> None:
    await house.on_air("secret", pin="4711")
    ann = await house.host("secret", "ann")
    await ann.go_live()
    listener = await house.listener("secret")
    await listener.play()
    await listener.says("This room has a PIN.")
    await answer(listener, "1234")
    await expect(listener.page.locator("#pin-error")).to_have_text(
        "That is not the PIN of this room.", timeout=PATIENCE_MS
    )
    await answer(listener, "4711")
    await only(listener.page, 660)
    await listener.says("Live")


async def answer(listener: Listener, pin: str) -> None:
    await listener.page.get_by_label("PIN of this room").fill(pin)
    await listener.page.get_by_role("button", name="Listen").click()


async def test_before_and_after_a_show(house: House) -> None:
    await house.stack.create("later")
    listener = await house.listener("later")
    await listener.play()
    await listener.says("Not on air yet. It begins to play when the room goes on air.")
    await house.stack.start("later")
    await listener.says("Live")
    await house.stack.call("POST", "/rooms/later/stop")
    await listener.says(re.compile("The broadcast has ended"))
    await house.stack.start("later")
    await listener.says("Live")


async def test_a_room_that_does_not_exist(house: House) -> None:
    listener = await house.listener("nowhere")
    await listener.play()
    await listener.says("There is no such room.")
    page = listener.page
    await page.goto(f"{house.api}/listen/no%20room")
    await expect(page.locator("body")).to_contain_text("This address names no room")


async def test_a_studio_without_an_invitation(house: House) -> None:
    await house.stack.create("closed")
    page = await (await house.somebody()).new_page()
    await page.goto(f"{house.api}/studio/closed")
    await Studio(page).says("You need an invitation to this studio")
    await page.goto(await house.link("closed", "ann", seconds=1))
    over = "Your invitation has run out, or was taken back. Ask for a new link."
    await Studio(page).says(over)  # once the second, and five of leeway, are over
    await expect(page.locator("#desk")).to_be_hidden()


async def test_no_way_for_the_sound(house: House) -> None:
    """A network that blocks UDP: as if only TURN were left, and there is none."""
    await house.on_air("blocked")
    context = await house.somebody()
    await context.add_init_script(ONLY_TURN)
    ann = await Studio.enter(context, await house.link("blocked", "ann"))
    await ann.page.locator("#go").click()
    network = ann.page.locator("#network")
    await expect(network).to_contain_text("No sound gets through", timeout=PATIENCE_MS)


async def test_a_full_room(house: House) -> None:
    await house.on_air("full", maxParticipants=1)
    ann = await house.host("full", "ann")
    await ann.go_live()
    bob = await house.host("full", "bob", hertz=440)
    await bob.page.locator("#go").click()
    await bob.says("The room is full.")
    await expect(bob.page.locator("#go")).to_be_enabled()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "This page may not use the microphone."),
        ("NotFoundError", "No microphone was found."),
        ("NotReadableError", "The microphone is in use by another program"),
    ],
)
async def test_no_microphone(house: House, error: str, words: str) -> None:
    """Chromium's fake one is never refused: what a browser answers then is put in its place."""
    await house.stack.create(error)
    context = await house.somebody()
    await context.add_init_script(REFUSES.replace("ERROR", error))
    page = await context.new_page()
    await page.goto(await house.link(error, "ann"))
    await page.get_by_role("button", name="Use my microphone").click()
    await Studio(page).says(words)
    await expect(page.get_by_role("button", name="Use my microphone")).to_be_visible()

"""Draws docs/screenshots anew: `python -m tests.browser.screenshots`, after the pages changed.

Real parts, a real show: two hosts live, a listener, an operator. Look at each picture before
committing it.
"""

import sys
import tempfile
from pathlib import Path

import anyio
from playwright.async_api import Page, async_playwright, expect

from bench.chromium import DESKTOP, PATIENCE_MS, PHONE, Screen, Theme, launched
from bench.visitors import only, tone
from cli.statedir import ROOT
from tests.browser.house import House, streams
from tests.support import stack as stacks
from tests.support.etcd import cluster

FOLDER = ROOT / "docs" / "screenshots"
ROOM = "morning-show"
SCREENS = {"phone": PHONE, "desktop": DESKTOP}
THEMES: tuple[Theme, ...] = ("light", "dark")
# 64 colours are plenty for flat pages, and a fifth of the bytes.
REDUCED = "split[a][b];[a]palettegen=max_colors=64[p];[b][p]paletteuse=dither=none"


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, cluster(1) as servers:
        own = Path(scratch)
        with streams(own) as (server, told):
            url = servers[0].url
            running = stacks.running(own, url, "/show", mixers=2, gateways=1, settings=told)
            async with (
                running as stack,
                async_playwright() as driver,
                launched(driver, own, 660) as first,
                launched(driver, own, 440) as second,
            ):
                house = House(stack, server, {660: first, 440: second})
                async with house.visits():
                    await draw(house, folder, own)


async def draw(house: House, folder: Path, scratch: Path) -> None:
    pages = await show(house)
    for name, page in pages.items():
        for size, screen in SCREENS.items():
            await fit(page, screen)
            for theme in THEMES:
                await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                picture = folder / f"{name}-{size}-{theme}.png"
                await take(page, scratch, picture, whole=name == "console")
    await together(folder)


async def show(house: House) -> dict[str, Page]:
    """The three pages in the middle of a show."""
    await house.on_air(ROOM)
    await house.on_air("night-talk", pin="4711")
    await house.stack.create("rehearsal")
    ben = await house.host(ROOM, "ben", hertz=440)
    ann = await house.host(ROOM, "ann", "air", "moderate")
    await ben.go_live()
    await ann.go_live()
    await tone(ann.page, 440)
    listener = await house.listener(ROOM)
    await listener.play()
    await only(listener.page, 660)
    console = await house.console(room=ROOM)
    for shown in (".people", ".history"):
        await expect(console.locator(shown)).to_contain_text("ben", timeout=PATIENCE_MS)
    return {"console": console, "studio": ann.page, "listen": listener.page}


async def fit(page: Page, screen: Screen) -> None:
    await page.set_viewport_size({"width": screen.width, "height": screen.height})
    await page.mouse.move(0, 0)  # nothing looks pointed at


async def take(page: Page, scratch: Path, picture: Path, *, whole: bool) -> None:
    """``whole``: what lies below the fold, too."""
    raw = scratch / picture.name
    await page.screenshot(path=raw, animations="disabled", full_page=whole)
    await ffmpeg("-i", str(raw), "-vf", REDUCED, str(picture))


async def together(folder: Path) -> None:
    """README's one picture: the studio on a desktop and the listen page on a phone."""
    studio, listen = folder / "studio-desktop-light.png", folder / "listen-phone-dark.png"
    cut = "[0]crop=1000:570:140:0[left];[1]crop=390:570:0:0[right]"
    side_by_side = f"{cut};[left][right]hstack,{REDUCED}"
    given = ("-i", str(studio), "-i", str(listen))
    await ffmpeg(*given, "-filter_complex", side_by_side, str(folder / "show.png"))


async def ffmpeg(*arguments: str) -> None:
    quiet = ("-y", "-nostdin", "-loglevel", "error")
    await anyio.run_process(["ffmpeg", *quiet, *arguments], stderr=sys.stderr)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    anyio.run(main, FOLDER)

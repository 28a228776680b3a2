"""Who visits the pages, a host in the studio and a listener, and what they notice of it."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
from playwright.async_api import BrowserContext, Page, expect

from bench.browser import Heard, Sample, heard
from bench.chromium import CLEAR_DB, HEARD_DB, PATIENCE_MS, Tone, level, loudest

LIVE = "You are live."
POLL_SECONDS = 0.05
WITHIN_SECONDS = PATIENCE_MS / 1000

SILENT_SECONDS = 0.25  # less is a glitch of a player
LATE_SECONDS = 10.0  # more than any listener is behind

# Notes twenty times a second how far the <audio> is and how loud the tone is in it, in the page,
# so that nothing is missed by whoever asks late. The name of this load of the page comes with it.
WATCH = """(audio, hertz) => {
  const stream = audio.tapped ??= audio.captureStream();
  const context = (window.listening ??= new AudioContext());
  const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
  const tap = () => {
    const track = stream.getAudioTracks().at(-1);
    if (track) context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  };
  tap();
  stream.addEventListener("addtrack", tap); // a player that begins anew has another track
  const levels = new Float32Array(analyser.frequencyBinCount);
  const place = Math.round((hertz * analyser.fftSize) / context.sampleRate);
  const began = performance.now();
  window.noted = [];
  setInterval(() => {
    analyser.getFloatFrequencyData(levels);
    const seconds = (performance.now() - began) / 1000;
    window.noted.push([seconds, audio.currentTime, Math.max(-140, levels[place])]);
  }, 50);
}"""
FOLLOW = """(network) => {
  const began = performance.now();
  window.states = [];
  const note = () => window.states.push([(performance.now() - began) / 1000, network.textContent]);
  const all = { childList: true, characterData: true, subtree: true };
  new MutationObserver(note).observe(network, all);
}"""
NOTED = "[performance.timeOrigin, window.noted ?? []]"


@dataclass(frozen=True, slots=True)
class Studio:
    """One host's page. ``click`` answers when it was clicked, as ``anyio.current_time()``."""

    page: Page

    @classmethod
    async def enter(cls, context: BrowserContext, link: str) -> "Studio":
        """With the microphone open."""
        page = await context.new_page()
        await page.goto(link)
        studio = cls(page)
        await studio.is_ready()
        return studio

    async def is_ready(self) -> None:
        """A tone is noise, and what another page plays an echo: neither may be removed."""
        await expect(self.page.locator("#go")).to_be_visible(timeout=PATIENCE_MS)
        await self.page.get_by_label("Remove echo and noise").uncheck()

    async def click(self, name: str) -> float:
        await self.page.get_by_role("button", name=name, exact=True).click()
        return anyio.current_time()

    async def go_live(self) -> float:
        """Answers when it was clicked; it is live by now."""
        button = self.page.locator("#go")
        await expect(button).to_be_enabled(timeout=PATIENCE_MS)
        clicked = anyio.current_time()
        await button.click()
        await self.is_live()
        return clicked

    async def is_live(self) -> None:
        await expect(self.page.locator("#network")).to_have_text(LIVE, timeout=PATIENCE_MS)

    async def watch(self) -> None:
        """From now on ``came_back`` knows."""
        await self.page.locator("#network").evaluate(FOLLOW)

    async def came_back(self) -> float:
        """Wait until it was not live for a while, and is again; seconds since ``watch``."""
        await until(self._is_back)
        seconds: float = (await self.page.evaluate("window.states"))[-1][0]
        return round(seconds, 1)

    async def _is_back(self) -> bool:
        states = [state for _, state in await self.page.evaluate("window.states")]
        return len(states) > 1 and states[-1] == LIVE

    async def says(self, words: str) -> None:
        await expect(self.page.locator("#notice")).to_contain_text(words, timeout=PATIENCE_MS)


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener's page."""

    page: Page

    @classmethod
    async def open(cls, context: BrowserContext, url: str) -> "Listener":
        page = await context.new_page()
        await page.goto(url)
        return cls(page)

    async def play(self) -> float:
        clicked = anyio.current_time()
        await self.page.get_by_role("button", name="Play").click()
        return clicked

    async def says(self, words: str | re.Pattern[str]) -> None:
        await expect(self.page.locator("#state")).to_have_text(words, timeout=PATIENCE_MS)

    async def watch(self, hertz: float) -> None:
        """From now on ``seen`` and ``came_back`` know."""
        await self.page.locator("#audio").evaluate(WATCH, hertz)

    async def came_back(self) -> float:
        """Wait until the tone was gone and is heard again; seconds since ``watch``."""
        await until(self._is_back)
        found = back_at(await self.page.evaluate("window.noted"))
        return round(found or 0.0, 1)

    async def _is_back(self) -> bool:
        return back_at(await self.page.evaluate("window.noted")) is not None

    async def heard_on(self, hertz: float) -> float:
        """Wait until he plays what was said after now, and the tone is in it. Answers when it was
        heard again after a gap, in seconds since ``watch``; 0 if there was none to hear."""
        await until(partial(self._is_past, await self.time() + LATE_SECONDS))
        await tone(self.page, hertz)
        return round(back_at(await self.page.evaluate("window.noted")) or 0.0, 1)

    async def time(self) -> float:
        return float(await self.page.locator("#audio").evaluate("(audio) => audio.currentTime"))

    async def goes_on(self) -> None:
        """Wait until it plays on from where it is now."""
        before = await self.time()
        await until(lambda: self._is_past(before + 0.5))

    async def _is_past(self, time: float) -> bool:
        return await self.time() > time

    async def seen(self) -> Heard:
        """What happened since ``watch``. A page that was loaded again knows nothing of it."""
        load, noted = await self.page.evaluate(NOTED)
        if not noted:
            return Heard(0.0, 0.0, reloads=1, fatal=0, advances=False)
        return heard([Sample(at, time, load, 0, ()) for at, time, _ in noted])


async def until(fact: Callable[[], Awaitable[bool]], within: float = WITHIN_SECONDS) -> float:
    """Wait for it; answers when it was so. Raises TimeoutError."""
    with anyio.fail_after(within):
        while not await fact():  # noqa: ASYNC110 - a page tells no event
            await anyio.sleep(POLL_SECONDS)
    return anyio.current_time()


async def tone(page: Page, hertz: float) -> float:
    """Wait until this tone is in what the page plays, beside others too; answers when."""

    async def is_there() -> bool:
        return await level(page, hertz) > CLEAR_DB

    return await until(is_there)


async def since(moment: float, page: Page, hertz: float = 660) -> float:
    """Seconds from then until this tone is heard."""
    return round(await tone(page, hertz) - moment, 2)


async def silence(page: Page, hertz: float) -> None:
    """Wait until this tone is not in it any more, which must last."""

    async def is_gone() -> bool:
        return await level(page, hertz) < HEARD_DB

    await until(is_gone)


def back_at(noted: Sequence[tuple[float, float, float]]) -> float | None:
    """When the tone was heard again, after it was gone for a while; None if it was not.

    >>> at = [(n / 10, 0.0, -20.0 if n < 3 or n > 7 else -90.0) for n in range(10)]
    >>> back_at(at), back_at(at[:7]), back_at(at[:5] + at[8:])
    (0.8, None, None)
    """
    gone: float | None = None
    was_silent = False
    for seconds, _, loud in noted:
        if loud < HEARD_DB:
            gone = seconds if gone is None else gone
            was_silent |= seconds - gone >= SILENT_SECONDS
        elif was_silent and loud > CLEAR_DB:
            return seconds
        else:
            gone = None
    return None


async def only(page: Page, hertz: float) -> Tone:
    """Wait until this tone is the loudest one; answers it."""

    async def is_it() -> bool:
        return (await loudest(page)).is_at(hertz)

    await until(is_it)
    return await loudest(page)

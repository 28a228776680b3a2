"""Chromium with a fake microphone, driven by Playwright: for ``bench pages`` and tests/browser.

A browser's microphone plays one tone; what a page plays is measured in the page itself, by an
analyser on the stream that its <audio> plays.
"""

import math
import struct
import wave
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Literal

from playwright.async_api import Browser, BrowserContext, Page, Playwright

from pkg.errors import ConfigError

RATE = 48_000
TONE_SECONDS = 10  # Chromium repeats the file
AMPLITUDE = 0.35
SILENCE_DB = -140.0
HEARD_DB = -60.0  # less is silence; a microphone's tone has -23 in the analyser's measure
CLEAR_DB = -40.0
PATIENCE_MS = 60_000.0  # for what takes a second or two on a machine of one's own
OPTIONS = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",  # the microphone is allowed without a question
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=user-gesture-required",
)

# Analysers on what an <audio> plays, one for each size; they stay with the stream. Answers the
# loudest frequency, its level, and the level at `hertz`. A fresh one's window must fill first.
HEAR = """async (audio, { size, hertz }) => {
  const stream = audio.srcObject ?? (audio.tapped ??= audio.captureStream());
  if (stream.getAudioTracks().length === 0) return [0, -Infinity, -Infinity];
  const context = (window.listening ??= new AudioContext());
  stream.analysers ??= new Map();
  if (!stream.analysers.has(size)) {
    const made = new AnalyserNode(context, { fftSize: size, smoothingTimeConstant: 0 });
    const tap = () => {
      const track = stream.getAudioTracks().at(-1);
      if (track) context.createMediaStreamSource(new MediaStream([track])).connect(made);
    };
    tap();
    stream.addEventListener("addtrack", tap); // a player that begins anew has another track
    stream.analysers.set(size, made);
    await new Promise((filled) => setTimeout(filled, 100 + (1000 * size) / context.sampleRate));
  }
  const levels = new Float32Array(size / 2);
  stream.analysers.get(size).getFloatFrequencyData(levels);
  const step = context.sampleRate / size;
  let top = 1;
  for (let n = 2; n < levels.length; n++) if (levels[n] > levels[top]) top = n;
  return [top * step, levels[top], levels[Math.round(hertz / step)]];
}"""
FINE = 32_768  # samples: steps of 1.5 Hz
QUICK = 2_048  # says after 50 ms whether a tone is there

Theme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Tone:
    """The loudest one: hertz, and its level in dB below full scale."""

    hertz: float
    db: float

    def is_at(self, hertz: float, within: float = 3.0) -> bool:
        return self.db > CLEAR_DB and abs(self.hertz - hertz) <= within


@dataclass(frozen=True, slots=True)
class Screen:
    width: int
    height: int
    theme: Theme = "light"


DESKTOP = Screen(1280, 800)
PHONE = Screen(390, 844)


@asynccontextmanager
async def launched(driver: Playwright, folder: Path, hertz: int) -> AsyncGenerator[Browser]:
    """A browser that hears ``hertz`` by its microphone. Raises ConfigError."""
    found = which("chromium") or which("chromium-browser")
    if found is None:
        raise ConfigError("there is no chromium on PATH: apt-get install chromium")
    sound = write_tone(folder / f"{hertz}.wav", hertz)
    options = [*OPTIONS, f"--use-file-for-fake-audio-capture={sound}"]
    browser = await driver.chromium.launch(
        executable_path=found, args=options, chromium_sandbox=False, timeout=PATIENCE_MS
    )
    try:
        yield browser
    finally:
        await browser.close()


def write_tone(path: Path, hertz: int) -> Path:
    """A file of whole waves, so that it repeats without a click."""
    turn = 2 * math.pi * hertz / RATE
    loud = 32767 * AMPLITUDE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        one = b"".join(struct.pack("<h", int(loud * math.sin(turn * n))) for n in range(RATE))
        file.writeframes(one * TONE_SECONDS)
    return path


async def somebody(browser: Browser, screen: Screen = DESKTOP) -> BrowserContext:
    """A browser window of somebody who was never here; close it."""
    context = await browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme=screen.theme,
        permissions=["clipboard-read", "clipboard-write", "microphone"],
        reduced_motion="reduce",  # nothing pulses under a screenshot
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


async def loudest(page: Page) -> Tone:
    """In what the page's <audio> plays now."""
    hertz, level, _ = await _hear(page, FINE, 0)
    return Tone(hertz, level)


async def level(page: Page, hertz: float) -> float:
    """Of one frequency in what the page's <audio> plays now, whatever else is in it; dB."""
    return (await _hear(page, QUICK, hertz))[2]


async def _hear(page: Page, size: int, hertz: float) -> tuple[float, float, float]:
    heard = page.locator("#audio").evaluate(HEAR, {"size": size, "hertz": hertz})
    top, its_level, asked = await heard
    return top, max(SILENCE_DB, its_level), max(SILENCE_DB, asked)

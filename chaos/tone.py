"""Whether a test tone is really in what a listener got: decoded by FFmpeg, window by window.

Silence that a playlist holds (a Janus that was away, a host that left) is no missing audio by
PROGRAM-DATE-TIME; here it shows.

>>> import math
>>> tone = [math.sin(2 * math.pi * 440 * n / RATE) * 8000 for n in range(2 * RATE)]
>>> pause = tone[:RATE] + [0.0] * RATE + tone[:RATE]
>>> round(silent_seconds(tone, 440), 1), round(silent_seconds(pause, 440), 1)
(0.0, 1.0)
>>> round(silent_seconds(pause, 880), 1)
3.0
"""

import array
import math
from collections.abc import Sequence
from subprocess import DEVNULL, PIPE

import anyio

RATE = 8000  # samples a second, decoded
WINDOW = 400  # samples: 50 ms
THRESHOLD = 300.0  # amplitude of 32767; a test tone has thousands
DECODER = (
    *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "quiet", "-f", "mpegts", "-i", "pipe:0"),
    *("-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"),
)


async def decode(transport_stream: bytes) -> Sequence[int]:
    """Samples of one run's segments, joined; what cannot be decoded is left out."""
    done = await anyio.run_process(
        DECODER, input=transport_stream, stdout=PIPE, stderr=DEVNULL, check=False
    )
    samples = array.array("h")
    samples.frombytes(done.stdout[: len(done.stdout) // 2 * 2])
    return samples


def silent_seconds(samples: Sequence[float], hertz: float) -> float:
    """Seconds of windows in which the tone is not."""
    windows = range(0, len(samples) - WINDOW + 1, WINDOW)
    silent = sum(amplitude(samples[n : n + WINDOW], hertz) < THRESHOLD for n in windows)
    return silent * WINDOW / RATE


def amplitude(window: Sequence[float], hertz: float) -> float:
    """Of one frequency, in the samples' own unit (Goertzel's algorithm)."""
    turn = 2 * math.cos(2 * math.pi * hertz / RATE)
    last = before = 0.0
    for sample in window:
        last, before = sample + turn * last - before, last
    power = last * last + before * before - turn * last * before
    return 2 * math.sqrt(max(0.0, power)) / len(window)

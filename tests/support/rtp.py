"""Sends a sine tone as RTP/Opus to a port, as a Janus forwarder would; no Janus needed.

The tone is encoded once and looped: 440 Hz fits a second a whole number of times, so the loop
has no seam. Sending costs one thread and about 0.3 % of a core.
"""

import itertools
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache

import av
import numpy as np

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960  # 20 ms
PAYLOAD_TYPE = 111


@cache
def opus_tone(hertz: int = 440, seconds: int = 1, amplitude: float = 0.5) -> tuple[bytes, ...]:
    """Opus packets of 20 ms each, stereo, that may be looped."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = SAMPLE_RATE
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, SAMPLE_RATE)
    packets: list[bytes] = []
    for start in range(0, (seconds + 1) * SAMPLE_RATE, FRAME_SAMPLES):
        packets += [bytes(packet) for packet in encoder.encode(_frame(start, hertz, amplitude))]
    warm = SAMPLE_RATE // FRAME_SAMPLES // 2  # the encoder's first packets fade in
    return tuple(packets[warm : warm + seconds * SAMPLE_RATE // FRAME_SAMPLES])


def _frame(start: int, hertz: int, amplitude: float) -> av.AudioFrame:
    phase = 2 * math.pi * hertz * (start + np.arange(FRAME_SAMPLES)) / SAMPLE_RATE
    mono = (amplitude * 32767 * np.sin(phase)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(mono, 2)[None, :], format="s16", layout="stereo")
    frame.sample_rate = SAMPLE_RATE
    frame.pts = start
    frame.time_base = Fraction(1, SAMPLE_RATE)
    return frame


def rtp_packets(payloads: tuple[bytes, ...], ssrc: int, sequence: int = 0) -> Iterator[bytes]:
    """Endless RTP packets (RFC 3550 §5.1), each timestamp 960 samples after the last."""
    for n, payload in enumerate(itertools.cycle(payloads)):
        header = struct.pack(
            ">BBHII",
            0x80,
            PAYLOAD_TYPE,
            (sequence + n) & 0xFFFF,
            (n * FRAME_SAMPLES) & 0xFFFFFFFF,
            ssrc,
        )
        yield header + payload


@contextmanager
def tone(host: str, port: int, *, hertz: int = 440, ssrc: int = 0x0A1B2C3D) -> Iterator[None]:
    """Send the tone in real time while the body runs; nobody listening is no error."""
    payloads = opus_tone(hertz)  # encode before the clock starts
    stop = threading.Event()
    sender = threading.Thread(target=_send, args=(stop, host, port, payloads, ssrc), daemon=True)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join(timeout=2)


def _send(
    stop: threading.Event, host: str, port: int, payloads: tuple[bytes, ...], ssrc: int
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        started = time.monotonic()
        for n, packet in enumerate(rtp_packets(payloads, ssrc)):
            if stop.wait(max(0.0, started + n * 0.02 - time.monotonic())):
                return
            sock.sendto(packet, (host, port))

"""A WebRTC end that plays a sine and listens (aiortc); it knows no signalling.

``offer()`` goes to whoever signals, its answer into ``accept``. About 4 % of a core each.
"""

import asyncio
import math
import time
from collections import deque
from fractions import Fraction
from typing import Any

import anyio
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from bench.tone import peak

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960  # 20 ms
LISTEN_FRAMES = 10  # 0.2 s: peak() is then right within 5 Hz


class SineTrack(MediaStreamTrack):  # type: ignore[misc]  # aiortc has no types
    """An endless mono sine at half of full scale, paced in real time."""

    kind = "audio"

    def __init__(self, hertz: float, amplitude: float = 0.5) -> None:
        super().__init__()
        self.amplitude = amplitude
        self._hertz = hertz
        self._position = 0
        self._started: float | None = None
        self._rests = False

    def rest(self) -> None:
        """Play no more, and cost nothing: the connection stays."""
        self._rests = True

    async def recv(self) -> av.AudioFrame:
        if self._rests:
            raise MediaStreamError
        if self._started is None:
            self._started = time.monotonic()
        due = self._started + self._position / SAMPLE_RATE
        await anyio.sleep(max(0.0, due - time.monotonic()))
        moments = (self._position + np.arange(FRAME_SAMPLES)) / SAMPLE_RATE
        sine = self.amplitude * np.sin(2 * math.pi * self._hertz * moments)
        pcm = (sine * 32767).astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, self._position
        frame.time_base = Fraction(1, SAMPLE_RATE)
        self._position += FRAME_SAMPLES
        return frame


class Caller:
    """One PeerConnection; ``close`` it. Who does not listen is sent nothing, and costs little."""

    def __init__(self, hertz: float, amplitude: float = 0.5, *, listens: bool = True) -> None:
        self.sine = SineTrack(hertz, amplitude)
        self.peer: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # else Google's
        direction = "sendrecv" if listens else "sendonly"
        self.peer.addTransceiver(self.sine, direction=direction)
        self.peer.on("connectionstatechange", self._watch)
        self.peer.on("track", self._receive)
        self._up = anyio.Event()
        self._ear: asyncio.Task[None] | None = None
        self._heard: deque[NDArray[np.int16]] = deque(maxlen=LISTEN_FRAMES)
        self._frames = 0  # heard so far

    async def offer(self) -> str:
        """With all candidates gathered (aiortc does not trickle)."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    def _watch(self) -> None:
        if self.peer.connectionState == "connected":
            self._up.set()

    def _receive(self, track: Any) -> None:
        self._ear = asyncio.create_task(self._hear(track))

    async def _hear(self, track: Any) -> None:
        """All the time, lest what is listened to later be old."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self._heard.append(frame.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0])
            self._frames += 1

    @property
    def is_up(self) -> bool:
        """Now."""
        return bool(self.peer.connectionState == "connected")

    async def connected(self, within: float = 30.0) -> None:
        """Wait until audio can flow. Raises TimeoutError."""
        with anyio.fail_after(within):
            await self._up.wait()

    async def listen(self) -> tuple[float, float]:
        """The strongest frequency (hertz) and its level (dBFS) in the next 0.2 s that come."""
        before = self._frames
        while self._frames < before + LISTEN_FRAMES:  # noqa: ASYNC110 - aiortc tells no event
            await anyio.sleep(0.01)
        return peak(np.concatenate(self._heard), SAMPLE_RATE)

    async def hears(self, hertz: float, within: float = 30.0) -> None:
        """Wait for that tone, loud. Raises TimeoutError."""
        with anyio.fail_after(within):
            while True:
                found, level = await self.listen()
                if abs(found - hertz) <= 10 and level > -25:
                    return

    async def hears_nothing(self, within: float = 30.0) -> None:
        """Wait for silence. Raises TimeoutError."""
        with anyio.fail_after(within):
            while (await self.listen())[1] > -50:
                pass

    async def close(self) -> None:
        await self.peer.close()
        if self._ear is not None:
            self._ear.cancel()
            await asyncio.wait([self._ear])

"""A listener as any player is one: playlist, key and segments by their public addresses alone.

It keeps a player's book, and complains when a room's numbering goes back or a number stands for
another segment than before (RFC 8216 §6.2.2). Decrypts with the playlist's IV, decodes with PyAV.
"""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import av
import httpx
import m3u8  # type: ignore[import-untyped]
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from numpy.typing import NDArray

from bench.tone import peak

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Segment:
    sequence: int
    url: str
    key_url: str
    iv: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Playlist:
    sequence: int  # of its first segment: EXT-X-MEDIA-SEQUENCE
    segments: tuple[Segment, ...]
    ended: bool
    headers: httpx.Headers

    @property
    def last(self) -> int:
        return self.segments[-1].sequence


@dataclass(frozen=True, slots=True)
class Sound:
    """One channel of what a segment holds."""

    sequence: int
    samples: NDArray[np.float64]
    rate: int

    @property
    def peak(self) -> tuple[float, float]:
        """Hertz and dBFS of the loudest tone."""
        return peak(self.samples, self.rate)

    def level(self, hertz: float) -> float:
        """dBFS of one frequency."""
        moments = np.arange(len(self.samples)) / self.rate
        window = np.hanning(len(self.samples))
        wave = np.exp(-2j * np.pi * hertz * moments)
        amplitude = 2 * abs(np.sum(self.samples * window * wave)) / window.sum()
        return float(20 * np.log10(max(amplitude, 1e-9)))


class Listener:
    """``url`` is the room's ``hlsUrl``, with ``?token=`` for a room that has a PIN."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.url = url
        self.keys: dict[str, bytes] = {}  # address → key, as players keep them
        self._client = client
        self._first = self._last = 0
        self._names: dict[int, str] = {}

    async def playlist(self) -> Playlist:
        """Raises httpx.HTTPStatusError for anything but 200, AssertionError for a step back."""
        answer = (await self._client.get(self.url)).raise_for_status()
        found = parse(answer)
        self._check(found)
        return found

    def _check(self, found: Playlist) -> None:
        assert found.sequence >= self._first, f"went back from {self._first} to {found.sequence}"
        assert found.last >= self._last, f"the end went back from {self._last} to {found.last}"
        self._first, self._last = found.sequence, found.last
        for segment in found.segments:
            name = segment.url.partition("?")[0]
            assert self._names.setdefault(segment.sequence, name) == name

    async def playing(self, within: float = 45.0) -> Playlist:
        """The first playlist there is; asks again while it is 404 or 503. Raises TimeoutError."""
        with anyio.fail_after(within):
            while True:
                try:
                    return await self.playlist()
                except (httpx.HTTPStatusError, httpx.TransportError):
                    await anyio.sleep(POLL_SECONDS)

    async def follow(self, after: int | None = None) -> AsyncIterator[Segment]:
        """Segments as they come, each once; without ``after``, from the newest but not it."""
        seen = (await self.playing()).last if after is None else after
        while True:
            for segment in (await self.playing()).segments:
                if segment.sequence > seen:
                    seen = segment.sequence
                    yield segment
            await anyio.sleep(POLL_SECONDS)

    async def hear(self, segment: Segment) -> Sound:
        """Fetch, decrypt and decode it. Raises httpx.HTTPStatusError."""
        body = (await self._client.get(segment.url)).raise_for_status().content
        return decode(segment.sequence, decrypt(body, await self._key(segment), segment.iv))

    async def _key(self, segment: Segment) -> bytes:
        known = self.keys.get(segment.key_url)
        if known is None:
            known = (await self._client.get(segment.key_url)).raise_for_status().content
            assert len(known) == 16
            self.keys[segment.key_url] = known
        return known

    async def sounds(self, after: int | None = None) -> AsyncIterator[Sound]:
        async for segment in self.follow(after):
            yield await self.hear(segment)

    async def tone(self, hertz: float, within: float = 45.0) -> Sound:
        """The first new segment whose loudest tone is this one, above -30 dB."""
        with anyio.fail_after(within):
            async for sound in self.sounds():
                found, level = sound.peak
                if abs(found - hertz) < 5 and level > -30:
                    return sound
        raise AssertionError("unreachable: a playlist that is followed has no end")

    async def silence(self, within: float = 45.0) -> Sound:
        """The first new segment without a sound."""
        with anyio.fail_after(within):
            async for sound in self.sounds():
                if sound.peak[1] < -60:
                    return sound
        raise AssertionError("unreachable: a playlist that is followed has no end")


def parse(answer: httpx.Response) -> Playlist:
    """By the m3u8 library, which knows nothing of ours. Every segment must be encrypted."""
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    found = m3u8.loads(answer.text, uri=str(answer.url))
    assert found.segments, answer.text
    assert all(s.key is not None and s.key.method == "AES-128" for s in found.segments)
    return Playlist(
        sequence=found.media_sequence,
        segments=tuple(
            Segment(
                found.media_sequence + n,
                s.absolute_uri,
                s.key.absolute_uri,
                bytes.fromhex(s.key.iv.removeprefix("0x")),
                s.duration,
            )
            for n, s in enumerate(found.segments)
        ),
        ended=found.is_endlist,
        headers=answer.headers,
    )


def decrypt(body: bytes, key: bytes, iv: bytes) -> bytes:
    """AES-128-CBC with PKCS7 padding (RFC 8216 §4.3.2.4). Raises ValueError for a wrong key."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain = decryptor.update(body) + decryptor.finalize()
    return unpadder.update(plain) + unpadder.finalize()


def decode(sequence: int, transport_stream: bytes) -> Sound:
    with av.open(io.BytesIO(transport_stream), format="mpegts") as source:
        frames = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
        rate = int(source.streams.audio[0].rate)
    return Sound(sequence, np.concatenate(frames).astype(np.float64), rate)

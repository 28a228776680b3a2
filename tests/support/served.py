"""Playlists as a room's listeners get them, and an origin in virtual time that may be broken."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import anyio
import httpx

TS = b"\x47" + bytes(187)
WALL = 1_000_000.0  # when segment 0 began, in seconds since 1970
SECONDS = 2.0  # of each segment


def playlist(
    numbers: Sequence[int],
    *,
    epoch: int = 1,
    seams: int = 0,
    seam_before: int | None = None,
    target: int = 2,
    begun: float = WALL,
) -> str:
    """Segment ``n`` is dated ``begun + 2 n``; a discontinuity stands before ``seam_before``."""
    lines = [
        "#EXTM3U",
        f"#EXT-X-TARGETDURATION:{target}",
        f"#EXT-X-MEDIA-SEQUENCE:{numbers[0]}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{seams}",
    ]
    for number in numbers:
        date = datetime.fromtimestamp(begun + SECONDS * number, UTC)
        lines += ["#EXT-X-DISCONTINUITY"] if number == seam_before else []
        lines += [f"#EXTINF:{SECONDS},", f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat()}"]
        lines += [f"s_{epoch}_{number}.ts"]
    return "\n".join(lines) + "\n"


class Origin:
    """Lists the last 15 of an endless row of segments; ``answers`` may say otherwise by path."""

    def __init__(self) -> None:
        self._started = anyio.current_time() - 20.0
        self.answers: Callable[[str], httpx.Response | None] = lambda _: None

    @property
    def newest(self) -> int:
        """Its number comes after the last one that is listed."""
        return int((anyio.current_time() - self._started) / SECONDS)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        told = self.answers(request.url.path)
        if told is not None:
            return told
        if request.url.path.endswith(".ts"):
            return httpx.Response(200, content=TS)
        return httpx.Response(200, text=playlist(range(max(0, self.newest - 15), self.newest)))

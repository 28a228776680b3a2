"""Fetches by the addresses that listeners use, over several room managers as a balancer does.

With one base address it is a plain client. With several, a request whose room manager refuses the
connection or stays silent is given to the next one at once, and later ones stay there: what nginx
does by ``proxy_next_upstream error timeout`` (deploy/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

ALONE_SECONDS = 10.0  # hls.js: maxTimeToFirstByteMs
BALANCED_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` None: nobody answered; then ``body`` is empty."""

    status: int | None
    body: bytes = b""
    words: str = ""

    @property
    def good(self) -> bool:
        return self.status == httpx.codes.OK


class Fetcher:
    """``bases``: where the room's playlist is, one address a room manager."""

    def __init__(self, client: httpx.AsyncClient, bases: Sequence[str]) -> None:
        self._client = client
        self._bases = list(bases)
        self._timeout = BALANCED_SECONDS if len(bases) > 1 else ALONE_SECONDS

    async def get(self, relative: str = "") -> Answer:
        """``relative`` to the playlist's address, as it stands in the playlist."""
        answer = Answer(None)
        for _ in range(len(self._bases)):
            answer = await self._ask(urljoin(self._bases[0], relative))
            if answer.status is not None:
                break
            self._bases.append(self._bases.pop(0))
        return answer

    async def _ask(self, url: str) -> Answer:
        try:
            response = await self._client.get(url, timeout=self._timeout)
        except httpx.HTTPError as error:
            return Answer(None, words=type(error).__name__)
        words = "" if response.is_success else response.text[:200]
        return Answer(response.status_code, response.content, words)

"""The REST API of an ``up`` as a cautious client uses it: any room manager will do.

An answer that did not come leaves open whether the call was done: ``None``, never a guess.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass
class Api:
    """``bases``: the room managers' addresses; the next one is asked where one is not there."""

    bases: Sequence[str]
    http: httpx.AsyncClient  # with the API key
    counts: Counter[str] = field(default_factory=Counter)

    async def call(self, method: str, path: str, body: object = None) -> Said | None:
        """A call that changes something: sent once. The first who can be connected to gets it."""
        for base in self.bases:
            try:
                answer = await self.http.request(
                    method, f"{base}/api{path}", json=body, timeout=TIMEOUT_SECONDS
                )
            except httpx.ConnectError:
                continue
            except httpx.TransportError:
                return None
            return Said(answer.status_code, _object(answer))
        return None

    async def ask(self, path: str) -> Said | None:
        """A question, which may be put to one after the other."""
        for base in self.bases:
            try:
                answer = await self.http.get(f"{base}/api{path}", timeout=TIMEOUT_SECONDS)
            except httpx.TransportError:
                continue
            return Said(answer.status_code, _object(answer))
        return None

    async def modules(self) -> list[dict[str, Any]]:
        """The fleet; empty when nobody answers."""
        said = await self.ask("/modules")
        return list(said.body.get("modules", [])) if said and said.ok else []

    async def rooms(self, prefix: str) -> dict[str, str] | None:
        """Room → status of all whose id begins so; None if the list could not be had whole."""
        found: dict[str, str] = {}
        query = "/rooms?limit=200"
        while True:
            said = await self.ask(query)
            if said is None or not said.ok:
                return None
            found |= {r["roomId"]: r["status"] for r in said.body["rooms"]}
            cursor = said.body.get("nextCursor")
            if not cursor:
                return {room: status for room, status in found.items() if room.startswith(prefix)}
            query = f"/rooms?limit=200&cursor={cursor}"


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

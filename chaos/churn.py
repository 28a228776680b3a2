"""Rooms made, started, stopped and deleted all the while, as people do.

Each room belongs to one client, so that the order of its calls is known. ``hold`` lets nobody begin
a call and waits for those that are under way: only then can anything be compared.
"""

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from chaos.api import Api
from chaos.ledger import Verb
from chaos.promises import Promises

CLIENTS = 4
VERBS: tuple[Verb, ...] = ("create", "create", "start", "start", "start", "stop", "delete")
LONGEST_PAUSE_SECONDS = 1.0

Wrong = Callable[[str], None]


class Churn:
    """``wrong`` is told of each answer that contradicts another."""

    def __init__(self, api: Api, promises: Promises, rooms: Sequence[str], wrong: Wrong) -> None:
        self._api, self._promises, self._rooms, self._wrong = api, promises, rooms, wrong
        self._holds = 0
        self._under_way = 0
        self._changed = anyio.Event()

    async def run(self, seed: int) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            for number in range(CLIENTS):
                mine = self._rooms[number::CLIENTS]
                rng = random.Random(f"{seed}/{number}")  # noqa: S311 - to be repeated
                if mine:
                    tasks.start_soon(self._client, mine, rng)

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """No call is under way while the body runs."""
        self._holds += 1
        try:
            while self._under_way:
                await self._changed.wait()
            yield
        finally:
            self._holds -= 1
            self._tell()

    async def call(self, room: str, verb: Verb) -> int | None:
        """One call, noted; answers its status, None if there was no answer."""
        said = await self._api.call(*_request(room, verb))
        status = said.status if said else None
        self._api.counts[f"{verb} {status or 'unanswered'}"] += 1
        for words in self._promises.noted(room, verb, status):
            self._wrong(words)
        return status

    async def _client(self, mine: Sequence[str], rng: random.Random) -> None:
        while True:
            room, verb = rng.choice(mine), rng.choice(VERBS)
            pause = rng.uniform(0, LONGEST_PAUSE_SECONDS)
            while self._holds:
                await self._changed.wait()
            self._under_way += 1
            try:
                await self.call(room, verb)
            finally:
                self._under_way -= 1
                self._tell()
            await anyio.sleep(pause)

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def _request(room: str, verb: Verb) -> tuple[str, str, Any]:
    """
    >>> _request("blue", "create"), _request("blue", "stop")
    (('POST', '/rooms', {'roomId': 'blue'}), ('POST', '/rooms/blue/stop', None))
    """
    if verb == "create":
        return "POST", "/rooms", {"roomId": room}
    if verb == "delete":
        return "DELETE", f"/rooms/{room}", None
    return "POST", f"/rooms/{room}/{verb}", None

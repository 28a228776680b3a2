"""Hosts without sound who are in the rooms all the while, through gateways, whatever dies.

Like the studio page they go to the next gateway when theirs is gone, and take over what is left
of themselves. What they leave in etcd and in Janus is looked at by ``judge``.
"""

import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from bench.line import ClosedError, Line, RefusedError
from chaos.api import Api

BACK_SECONDS = 30.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 4.0
POLL_SECONDS = 0.1
USERS = ("chaos-ann", "chaos-bob")
FAILURES = (ClosedError, RefusedError, TimeoutError)


@dataclass
class Guest:
    api: Api
    urls: Sequence[str]  # of the gateways
    room: str
    user: str
    is_in: bool = False
    _token: str | None = None
    _tried: int = 0
    _was_in: bool = False

    async def run(self) -> None:
        """Until cancelled."""
        rng, wait = random.Random(self.user), FIRST_WAIT_SECONDS  # noqa: S311 - no secret
        while True:
            before = self._was_in
            self._was_in = False
            try:
                await self._stay(takeover=before)
            except FAILURES:
                pass
            finally:
                self.is_in = False
            wait = FIRST_WAIT_SECONDS if self._was_in else min(2 * wait, LONGEST_WAIT_SECONDS)
            self._was_in |= before
            await anyio.sleep(wait * rng.uniform(0.5, 1.5))

    async def _stay(self, *, takeover: bool) -> None:
        self._token = self._token or await self._invited()
        if self._token is None:
            return
        url = self.urls[self._tried % len(self.urls)]
        self._tried += 1
        line = await Line.opened(url, self._token, _ignore, takeover=takeover)
        try:
            await line.ask("join")
            self.is_in = self._was_in = True
            await line.closed.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await line.close()

    async def _invited(self) -> str | None:
        body = {"userId": self.user, "role": "host", "ttlSeconds": 86_400}
        said = await self.api.call("POST", f"/rooms/{self.room}/tokens", body)
        return said.body.get("token") if said and said.ok else None


def _ignore(_method: str, _params: object) -> None:
    pass


@asynccontextmanager
async def staying(
    api: Api, urls: Sequence[str], rooms: Iterable[str]
) -> AsyncGenerator[list[Guest]]:
    """Two in each room, at different gateways if there are two; none without a gateway."""
    wanted = rooms if urls else ()
    guests = [
        Guest(api, urls, room, user, _tried=number)
        for room in wanted
        for number, user in enumerate(USERS)
    ]
    async with anyio.create_task_group() as tasks:
        for guest in guests:
            tasks.start_soon(guest.run)
        yield guests
        tasks.cancel_scope.cancel()


async def away(guests: Sequence[Guest]) -> list[str]:
    """Wait until all are in; who is not in the end, in words."""
    with anyio.move_on_after(BACK_SECONDS):
        while not all(guest.is_in for guest in guests):  # noqa: ASYNC110 - they tell no event
            await anyio.sleep(POLL_SECONDS)
    return [
        f"I5 {guest.room}: host {guest.user} is not in, {BACK_SECONDS:g} s after all was well again"
        for guest in guests
        if not guest.is_in
    ]

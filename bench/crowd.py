"""Many rooms on air on two of everything, and players on some: what outage and drain look at."""

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import psutil

from bench.stack import Stack
from chaos.api import Api
from chaos.player import Moment, Player
from cli.leftovers import FFMPEG_MARK
from pkg.errors import OnairError

POLL_SECONDS = 0.1
ON_AIR_SECONDS = 60.0
CALM_SECONDS = 8.0  # playlists are long enough, then the players' buffers are steady
ROOM_MARK = "ONAIR_ROOM"

Room = Mapping[str, Any]


class CrowdError(OnairError):
    """The private Onair does not answer, or its rooms do not come on air."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Of the players together: the worst one's seconds; reloads and broken rules of all."""

    missing: float
    silence: float
    reloads: int
    wrong: tuple[str, ...]

    @property
    def nothing_lost(self) -> bool:
        return not (self.missing or self.silence or self.reloads or self.wrong)


@dataclass(frozen=True)
class Crowd:
    stack: Stack
    api: Api
    public: httpx.AsyncClient
    rooms: Sequence[str]
    players: Mapping[str, Player]

    async def must(self, method: str, path: str, body: object = None) -> None:
        """Raises CrowdError unless it was done."""
        said = await self.api.call(method, path, body)
        if said is None or not said.ok:
            raise CrowdError(f"{method} {path}: {said or 'no answer'}")

    async def on_air(self, rooms: Sequence[str]) -> None:
        """Make them and start them. Raises CrowdError, TimeoutError."""
        for room in rooms:
            await self.must("POST", "/rooms", {"roomId": room})
            await self.must("POST", f"/rooms/{room}/start")
        await self.until_on_air(rooms)

    async def until_on_air(self, rooms: Iterable[str]) -> None:
        with anyio.fail_after(ON_AIR_SECONDS):
            while not await self.are_on_air(rooms):  # noqa: ASYNC110 - REST tells no event
                await anyio.sleep(POLL_SECONDS)

    async def are_on_air(self, rooms: Iterable[str]) -> bool:
        found = await self.look()
        return all(room in found and found[room]["status"] == "onair" for room in rooms)

    async def look(self) -> dict[str, Room]:
        """All rooms as REST shows them; none when it does not answer."""
        said = await self.api.ask("/rooms?limit=200")
        return {r["roomId"]: r for r in said.body["rooms"]} if said and said.ok else {}

    async def module(self, module_id: str) -> Mapping[str, Any]:
        """Raises CrowdError if it is not there."""
        for module in await self.api.modules():
            if module["moduleId"] == module_id:
                return module
        raise CrowdError(f"there is no {module_id}")

    async def is_well(self) -> bool:
        """Every room manager ready, every module healthy."""
        for base in self.api.bases:
            try:
                answer = await self.public.get(f"{base}/readyz", timeout=2)
            except httpx.HTTPError:
                return False
            if answer.status_code != 200:
                return False
        good = [m for m in await self.api.modules() if m["health"] == "healthy"]
        return len(good) >= self.stack.modules

    @property
    def mixers(self) -> set[str]:
        site = self.stack.site
        return {site.module_id("mixer", n) for n in site.mixer_numbers}

    def ffmpegs(self, mixers: Collection[str]) -> dict[str, list[int]]:
        """Room → pids, of these mixers."""
        found: dict[str, list[int]] = {}
        for process in psutil.process_iter():
            environment = _environment(process)
            if environment.get(FFMPEG_MARK) in mixers:
                found.setdefault(environment[ROOM_MARK], []).append(process.pid)
        return found

    async def heard(self, since: Moment) -> Heard:
        """Once everybody hears what is played now. Raises TimeoutError."""
        now = Player.now()
        for player in self.players.values():
            await player.hears_on(now)
        told = {room: player.report(since) for room, player in self.players.items()}
        return Heard(
            max(report.missing for report in told.values()),
            max(report.silence for report in told.values()),
            sum(report.reloads for report in told.values()),
            tuple(f"{room}: {words}" for room, r in told.items() for words in r.wrong),
        )


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process.environ() if alive else {}
    except (psutil.Error, OSError):
        return {}


@asynccontextmanager
async def gathered(
    stack: Stack,
    rooms: Sequence[str],
    listened: int,
    before: Callable[[Crowd], Awaitable[None]] | None = None,
) -> AsyncGenerator[Crowd]:
    """The rooms are on air, and the first ``listened`` of them heard, when the body begins.

    ``before`` prepares the fleet. Raises CrowdError, TimeoutError.
    """
    own = {"Authorization": f"Bearer {stack.api_key}"}
    async with (
        httpx.AsyncClient(headers=own, trust_env=False) as http,
        httpx.AsyncClient(trust_env=False) as public,
        anyio.create_task_group() as tasks,
    ):
        api = Api(stack.site.api_urls, http)
        players = {
            room: Player(public, [f"{base}/hls/{room}/live.m3u8" for base in api.bases])
            for room in rooms[:listened]
        }
        crowd = Crowd(stack, api, public, rooms, players)
        if before:
            await before(crowd)
        await crowd.on_air(rooms)
        await anyio.sleep(CALM_SECONDS)
        for player in players.values():
            tasks.start_soon(player.play)
        for player in players.values():
            await player.started()
        await anyio.sleep(CALM_SECONDS)
        yield crowd
        tasks.cancel_scope.cancel()

"""The pages in real Chromium: how soon a host is heard, and how both ends live through losses.

Two hosts, each with a tone, and a listener visit one room under one ``up``; each run they come
anew. All figures are of what a person notices: seconds from a click, or from ``kill -9``.
"""

import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

import anyio
import httpx
from playwright.async_api import Browser, BrowserContext, async_playwright

from bench.chromium import launched, somebody
from bench.faults import ROOM, Case, Scene
from bench.figures import Goal
from bench.stack import Stack
from bench.visitors import Listener, Studio, only, since
from chaos.api import Api
from cli.site import Many

ANN, BOB = 660, 440  # hertz
RUN_SECONDS = 150.0
TWO_GATEWAYS = Many(mixers=2, gateways=2)
IN_ROOM, ON_HLS = "go live → heard by a co-host", "go live → heard on HLS"
GOALS = {IN_ROOM: Goal(at_most=1.0), ON_HLS: Goal(at_most=7.0)}
ANY = Goal(at_most=60.0)
JANUS = Case("Janus", ANY, ANY)
MIXER = Case("mixer host", ANY, ANY, kept_down=True)


@dataclass
class House:
    """``found``: what → seconds, one a run."""

    scene: Scene
    browsers: Mapping[int, Browser]
    found: dict[str, list[float]] = field(default_factory=dict)
    _open: list[BrowserContext] = field(default_factory=list)

    def note(self, what: str, seconds: float) -> None:
        self.found.setdefault(what, []).append(seconds)

    async def somebody(self, hertz: int) -> BrowserContext:
        context = await somebody(self.browsers[hertz])
        self._open.append(context)
        return context

    async def link(self, user: str) -> str:
        body = {"userId": user, "role": "host"}
        made = await self.scene.api.call("POST", f"/rooms/{ROOM}/tokens", body)
        assert made is not None  # noqa: S101 - nothing is killed meanwhile
        return f"{self.scene.stack.site.api_url}/studio/{ROOM}?token={made.body['token']}"

    async def leave(self) -> None:
        while self._open:
            await self._open.pop().close()


@dataclass
class Show:
    """Ann and Bob are live, somebody listens."""

    house: House
    ann: Studio
    bob: Studio
    listener: Listener


async def measure(stack: Stack, runs: int, told: Callable[[], None]) -> dict[str, list[float]]:
    """What → seconds, one a run. Raises NotCalmError, TimeoutError, and Playwright's errors."""
    async with _house(stack) as house:
        for _ in range(runs):
            for part in (_janus_dies, _gateway_dies, _taken_over, _mixer_host_dies):
                await house.scene.calm()
                try:
                    await part(await _begin(house))
                finally:
                    await house.leave()
                told()
        return house.found


PARTS = 4


@asynccontextmanager
async def _house(stack: Stack) -> AsyncGenerator[House]:
    own = {"Authorization": f"Bearer {stack.api_key}"}
    async with AsyncExitStack() as exits:
        enter = exits.enter_async_context
        http = await enter(httpx.AsyncClient(headers=own, trust_env=False))
        public = await enter(httpx.AsyncClient(trust_env=False))
        api = Api(stack.site.api_urls, http)
        await api.call("POST", "/rooms", {"roomId": ROOM})
        await api.call("POST", f"/rooms/{ROOM}/start?wait=20")
        driver = await enter(async_playwright())
        tones = [await enter(launched(driver, stack.scratch, hertz)) for hertz in (ANN, BOB)]
        yield House(Scene(stack, api, public), dict(zip((ANN, BOB), tones, strict=True)))


async def _begin(house: House) -> Show:
    """The room is on air; Bob is live and the listener hears him before Ann clicks."""
    bob = await Studio.enter(await house.somebody(BOB), await house.link("bob"))
    ann = await Studio.enter(await house.somebody(ANN), await house.link("ann"))
    page = f"{house.scene.stack.site.api_url}/listen/{ROOM}"
    listener = await Listener.open(await house.somebody(BOB), page)
    await bob.go_live()
    await listener.play()
    await only(listener.page, BOB)
    clicked = await ann.go_live()
    house.note(IN_ROOM, await since(clicked, bob.page, ANN))
    house.note(ON_HLS, await since(clicked, listener.page, ANN))
    return Show(house, ann, bob, listener)


async def _janus_dies(show: Show) -> None:
    await _killed(show, JANUS, await show.house.scene.victims(JANUS))


async def _mixer_host_dies(show: Show) -> None:
    await _killed(show, MIXER, await show.house.scene.victims(MIXER))


async def _killed(show: Show, case: Case, pids: list[int]) -> None:
    house, listener = show.house, show.listener
    await show.ann.watch()
    await listener.watch(ANN)
    with house.scene.stack.supervisor_stopped() if case.kept_down else nullcontext():
        _kill(pids)
        house.note(f"{case.name} killed → listener hears", await listener.heard_on(660))
    if not case.kept_down:
        house.note(f"{case.name} killed → studio live", await show.ann.came_back())
    seen = await listener.seen()
    house.note(f"{case.name} killed: player stood still", round(seen.longest_stall, 2))
    house.note(f"{case.name} killed: page loaded again", seen.reloads)


async def _gateway_dies(show: Show) -> None:
    house = show.house
    await show.ann.watch()
    killed = _kill([await _gateway_of(house, "ann")])
    house.note("gateway killed → studio live", await show.ann.came_back())
    house.note("gateway killed → co-host hears", await since(killed, show.bob.page, ANN))


async def _gateway_of(house: House, user: str) -> int:
    """The pid of the gateway that has this host's connection."""
    said = await house.scene.api.ask(f"/rooms/{ROOM}/participants")
    assert said is not None  # noqa: S101 - nothing is killed yet
    found = next(p["gatewayId"] for p in said.body["participants"] if p["userId"] == user)
    site, pids = house.scene.stack.site, house.scene.stack.read_pids()
    return pids["gateway" + found.removeprefix(site.module_id("gateway"))]


async def _taken_over(show: Show) -> None:
    house = show.house
    second = await Studio.enter(await house.somebody(ANN), await house.link("ann"))
    await second.page.locator("#go").click()
    await second.says("You are already in this room")
    clicked = await second.click("Join here")
    await second.is_live()
    house.note("taken over → second tab live", round(anyio.current_time() - clicked, 2))
    await show.ann.says("this one is out")


def _kill(pids: list[int]) -> float:
    """Answers when."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return anyio.current_time()

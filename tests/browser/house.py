"""An Onair with its stream server, two browsers, the windows of one test, and their complaints."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from bench.chromium import DESKTOP, PATIENCE_MS, Screen, somebody
from bench.visitors import Listener, Studio
from pkg import keys
from pkg.model import Host, RoomId
from tests.support import streams_process
from tests.support.daemon import Daemon
from tests.support.stack import Stack
from tests.support.streams_process import Process

REFUSED = "Failed to load resource"  # an answer of 4xx or 5xx, which pages ask for and deal with
# Playwright tells no close code.
CODES = """window.closeCodes = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("close", ({ code }) => window.closeCodes.push(code));
  }
};"""


async def close_codes(page: Page) -> list[int]:
    """Of the page's WebSockets that ended, in their order."""
    found: list[int] = await page.evaluate("window.closeCodes")
    return found


@contextmanager
def streams(folder: Path) -> Generator[tuple[Process, dict[str, str]]]:
    """A stream server, and the settings by which daemons tell it rooms' histories."""
    with streams_process.running(folder / "streams", folder / "streams.log") as server:
        yield (
            server,
            {
                "ONAIR_EVENTS_URL": server.streams,
                "ONAIR_EVENTS_DIR": str(folder / "events"),
            },
        )


@dataclass
class House:
    """``browsers``: hertz of the microphone → browser. ``complaints``: of all pages, since the
    test began: errors in scripts, what the policy stopped, requests to elsewhere."""

    stack: Stack
    streams: Process
    browsers: Mapping[int, Browser]
    complaints: list[str] = field(default_factory=list)
    _open: list[BrowserContext] = field(default_factory=list)

    @property
    def api(self) -> str:
        return self.stack.site.api_url()

    def logs(self) -> dict[str, str]:
        return self.stack.logs()

    @asynccontextmanager
    async def visits(self) -> AsyncGenerator[None]:
        self.complaints.clear()
        try:
            yield
        finally:
            for context in self._open:
                await context.close()
            self._open.clear()
            await self._empty()

    async def _empty(self) -> None:
        """No room stays: two cores carry few FFmpegs beside two browsers."""
        for room in (await self.stack.call("GET", "/rooms"))["rooms"]:
            await self.stack.call("DELETE", f"/rooms/{room['roomId']}", 202)

    async def somebody(self, hertz: int = 660, screen: Screen = DESKTOP) -> BrowserContext:
        """A window of somebody who was never here, watched."""
        context = await somebody(self.browsers[hertz], screen)
        await context.add_init_script(CODES)
        context.on("page", self._watch)
        self._open.append(context)
        return context

    def _watch(self, page: Page) -> None:
        page.on("console", self._noted)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("request", self._asked)

    def _noted(self, message: ConsoleMessage) -> None:
        """Chromium tells of whatever a policy stopped as an error."""
        if message.type in {"error", "warning"} and not message.text.startswith(REFUSED):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.api, self.streams.streams, "blob:", "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    async def link(self, room: str, user: str, *grants: str, seconds: int = 3600) -> str:
        """A host's invitation. Without grants: ``air``."""
        body = {"userId": user, "role": "host", "ttlSeconds": seconds}
        body |= {"grants": list(grants)} if grants else {}
        made = await self.stack.call("POST", f"/rooms/{room}/tokens", 201, json=body)
        return f"{self.api}/studio/{room}?token={made['token']}"

    async def on_air(self, room: str, **fields: object) -> None:
        await self.stack.create(room, **fields)
        await self.stack.start(room)

    async def host(self, room: str, user: str, *grants: str, hertz: int = 660) -> Studio:
        """In the studio, with the microphone open, not live."""
        return await Studio.enter(await self.somebody(hertz), await self.link(room, user, *grants))

    async def console(self, screen: Screen = DESKTOP, room: str = "") -> Page:
        """Signed in by the address that `up` prints; with this room's card open."""
        page = await (await self.somebody(screen=screen)).new_page()
        await page.goto(f"{self.api}/#key={self.stack.site.api_key}")
        await expect(page.locator("#desk")).to_be_visible(timeout=PATIENCE_MS)
        if room:
            await page.get_by_role("button", name=room, exact=True).click()
        return page

    async def listener(self, room: str, screen: Screen = DESKTOP) -> Listener:
        return await Listener.open(await self.somebody(screen=screen), f"{self.api}/listen/{room}")

    async def gateway_of(self, room: str, user: str) -> Daemon:
        """Which one has the user's connection."""
        found = await self.stack.etcd.get(keys.host(RoomId(room), user))
        assert found is not None, f"{user} is not connected"
        wanted = Host.decode(found.value).gateway_id
        places = [place.gateway_id for place in self.stack.site.machines]
        return self.stack.gateways[places.index(wanted)]

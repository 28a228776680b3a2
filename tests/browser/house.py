"""Who is in it: an Onair, two browsers, and the windows that one test opens; what they complain of."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from bench.chromium import DESKTOP, Screen, somebody
from bench.visitors import Listener, Studio
from tests.support.stack import Stack

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


@dataclass
class House:
    """``browsers``: hertz of the microphone → browser. ``complaints``: of all pages, since the
    test began: errors in scripts, what the policy stopped, requests to elsewhere."""

    stack: Stack
    browsers: Mapping[int, Browser]
    complaints: list[str] = field(default_factory=list)
    _open: list[BrowserContext] = field(default_factory=list)

    @property
    def api(self) -> str:
        return self.stack.site.api_url()

    @asynccontextmanager
    async def visits(self) -> AsyncGenerator[None]:
        self.complaints.clear()
        try:
            yield
        finally:
            for context in self._open:
                await context.close()
            self._open.clear()

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
        if not request.url.startswith((self.api, "blob:", "data:")):
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

    async def listener(self, room: str, screen: Screen = DESKTOP) -> Listener:
        return await Listener.open(await self.somebody(screen=screen), f"{self.api}/listen/{room}")

"""A host with a tone for a voice, who comes through a gateway; and one who stays, as the page does.

``Host`` makes each step when it is told to. ``Guest`` keeps himself on air over every loss but the
last, by the rules of web/lib/show.js: he connects to one gateway after the other, takes over what
is left of himself, publishes again. About 4 % of a core each while they play.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from bench.caller import Caller
from bench.line import BROKEN, ClosedError, Line, Message, RefusedError, ended
from pkg.errors import OnairError

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 4.0
CONNECT_SECONDS = 30.0
ROOM_NOT_ONAIR = -32010
# Close codes and statuses after which nobody should try again.
FINAL = {1000, 1008, 4401, 4403, 4404, 4408, 4409, 4410, 4429, 401, 403, 404}
PUBLISH_AGAIN = {"roomMoved", "mediaLost"}
FAILURES = (ClosedError, RefusedError, TimeoutError)


class Host:
    """``events``: all notifications, in order; ``people``: who is there, by user.

    ``hear`` is called with the name of each notification, too.
    """

    def __init__(
        self,
        hertz: float = 440.0,
        *,
        display: str | None = None,
        listens: bool = True,
        hear: Callable[[str], None] | None = None,
    ) -> None:
        self.events: list[tuple[str, Message]] = []
        self.people: dict[str, Message] = {}
        self.caller: Caller | None = None
        self.line: Line | None = None
        self._hertz = hertz
        self._display = display
        self._listens = listens
        self._hear_too = hear
        self._news = asyncio.Event()

    # -- steps -----------------------------------------------------------------------------

    async def connect(self, url: str, token: str, *, takeover: bool = False) -> None:
        """``url``: ``ws://…/ws``. Raises ClosedError."""
        self.line = await Line.opened(url, token, self._hear, takeover=takeover)

    async def join(self) -> Message:
        """Raises ClosedError, RefusedError, TimeoutError, as all steps that follow."""
        named = {} if self._display is None else {"display": self._display}
        joined: Message = await self._line.ask("join", **named)
        self._list(joined["participants"])
        return joined

    async def publish(self) -> None:
        """A new offer, and a new end for it; ``connected`` waits until it is up."""
        await self._hang_up()
        self.caller = Caller(self._hertz, listens=self._listens)
        answer = await self._line.ask("publish", sdp=await self.caller.offer())
        await self.caller.accept(answer["sdp"])

    async def connected(self, within: float = CONNECT_SECONDS) -> None:
        """Wait until audio can flow. Raises TimeoutError."""
        if self.caller is not None:
            await self.caller.connected(within)

    async def mute(self, *, muted: bool = True) -> None:
        await self._line.ask("mute" if muted else "unmute")

    async def leave(self) -> None:
        """As a click on the button does."""
        await self._line.ask("leave")
        await self._line.closed.wait()
        await self.close()

    async def ended(self) -> None:
        """Wait for the connection's end, and raise it as a ClosedError."""
        await self._line.closed.wait()
        raise ClosedError(self._line.code or BROKEN, self._line.reason)

    async def close(self) -> None:
        """As a closed tab does."""
        await self._hang_up()
        if self.line is not None:
            await self.line.close()

    async def told(self, method: str, within: float = CONNECT_SECONDS) -> Message:
        """Wait for the first notification of that name; its params. Raises TimeoutError."""
        with anyio.fail_after(within):
            while True:
                for name, params in self.events:
                    if name == method:
                        return params
                self._news.clear()
                await self._news.wait()

    @property
    def _line(self) -> Line:
        if self.line is None:
            raise ClosedError(BROKEN, "not connected")
        return self.line

    async def _hang_up(self) -> None:
        caller, self.caller = self.caller, None
        if caller is not None:
            await caller.close()

    # -- news ------------------------------------------------------------------------------

    def _hear(self, method: str, params: Message) -> None:
        self.events.append((method, params))
        match method:
            case "participantJoined" | "participantUpdated":
                self.people[params["participant"]["userId"]] = params["participant"]
            case "participantLeft":
                self.people.pop(params["userId"], None)
            case "roomMoved":
                self._list(params["participants"])
            case _:
                pass
        self._news.set()
        if self._hear_too is not None:
            self._hear_too(method)

    def _list(self, participants: Sequence[Message]) -> None:
        self.people = {one["userId"]: one for one in participants}


class OverError(OnairError):
    """The guest's show ended; ``code`` as docs/gateway.md has it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"over: {code}")
        self.code = code


class Guest:
    """``async with Guest(urls, token, 440) as guest: await guest.live()``: on air until the end.

    ``over``: the code that ended his show for good. ``stays``: how often he got in, ``offers``:
    how often he was connected with sound; both rise by one with each loss that he mended.
    """

    def __init__(
        self, urls: Sequence[str], token: str, hertz: float = 440.0, *, seed: int = 1
    ) -> None:
        self.over: int | None = None
        self.stays = self.offers = 0
        self.host = Host(hertz)
        self._urls = urls
        self._token = token
        self._hertz = hertz
        self._tried = seed  # so that not all begin at the first gateway
        self._rng = random.Random(seed)
        self._wanted = asyncio.Event()  # to publish
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """He leaves, if he is anywhere."""
        if self._task is not None:
            await ended(self._task)
        if self.over is None:
            with contextlib.suppress(*FAILURES):
                await self.host.leave()
        await self.host.close()

    async def live(self, after: int = 0, within: float = CONNECT_SECONDS) -> None:
        """Wait until he was connected with sound more than ``after`` times, and is.

        Raises TimeoutError, OverError.
        """
        with anyio.fail_after(within):
            while not self._is_live(after):
                if self.over is not None:
                    raise OverError(self.over)
                await anyio.sleep(0.02)

    def _is_live(self, after: int) -> bool:
        caller = self.host.caller
        return self.offers > after and caller is not None and caller.is_up

    # -- as show.js ------------------------------------------------------------------------

    async def _run(self) -> None:
        """Ends once nothing can be mended any more."""
        wait = FIRST_RETRY_SECONDS
        while self.over is None:
            before = self.stays
            try:
                await self._stay()
            except FAILURES as error:
                self.over = _final(error)
            wait = FIRST_RETRY_SECONDS if self.stays > before else wait
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_RETRY_SECONDS)

    async def _stay(self) -> None:
        """One connection, to its end, which is raised."""
        await self.host.close()
        self.host = Host(self._hertz, hear=self._hear)
        url = self._urls[self._tried % len(self._urls)]
        self._tried += 1
        await self.host.connect(url, self._token, takeover=self.stays > 0)
        await self.host.join()
        self.stays += 1
        publishing = asyncio.create_task(self._keep_publishing(self.host))
        try:
            await self.host.ended()
        finally:
            await ended(publishing)

    def _hear(self, method: str) -> None:
        if method in PUBLISH_AGAIN:
            self._wanted.set()

    async def _keep_publishing(self, host: Host) -> None:
        self._wanted = asyncio.Event()
        self._wanted.set()
        wait = FIRST_RETRY_SECONDS
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await host.publish()
                await host.connected()
                self.offers += 1
                wait = FIRST_RETRY_SECONDS
            except FAILURES:
                self._wanted.set()
                await self._pause(wait)
                wait = min(2 * wait, LONGEST_RETRY_SECONDS)

    async def _pause(self, wait: float) -> None:
        if self.over is None:
            await anyio.sleep(wait * self._rng.uniform(0.5, 1.5))


def _final(error: Any) -> int | None:
    """The code after which nobody should try again; None: worth another try.

    >>> _final(ClosedError(4403, "kicked")), _final(ClosedError(1006, "")), _final(TimeoutError())
    (4403, None, None)
    """
    if isinstance(error, RefusedError):
        return 4404 if error.code == ROOM_NOT_ONAIR else None
    code = getattr(error, "code", None)
    return code if code in FINAL else None

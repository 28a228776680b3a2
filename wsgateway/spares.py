"""Sessions with Janus that stand ready before a host asks for one.

Of a host's way in, the WebSocket, the session and its handle are the same for everybody; made
beforehand, they leave him one round trip. A few are kept for a while, at a Janus that somebody
came for: a crowd that never joins has no more than these. ``janus`` takes them.
"""

from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import structlog
from anyio.abc import TaskGroup
from websockets.typing import Subprotocol

from pkg.janus import link
from pkg.janus.link import Address, Limits, Link
from pkg.janus.wire import JanusUnavailableError
from wsgateway.messages import Handle
from wsgateway.stay import RefusedError, attached

log = structlog.get_logger()

LIMITS = Limits(message_bytes=1 << 20)  # a room of 1,000, told at once, is a fifth of that
PER_JANUS, IN_ALL = 2, 32
LIFE_SECONDS = 5.0  # a page joins as soon as it is connected; Janus keeps a silent session a minute
REST_SECONDS = 0.1  # whoever took one is on his way in: the next can wait


@dataclass(slots=True, eq=False)
class Spare:
    """Nobody reads the link meanwhile: Janus says nothing there unasked."""

    link: Link
    handle: Handle | None = None
    taken: anyio.Event = field(default_factory=anyio.Event)


class Spares:
    """A gateway's. There are none but while ``running``."""

    def __init__(self) -> None:
        self._ready: defaultdict[str, deque[Spare]] = defaultdict(deque)  # by URL of the Janus
        self._keepers: Counter[str] = Counter()
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        try:
            async with anyio.create_task_group() as self._tasks:
                yield
                self._tasks.cancel_scope.cancel()
        finally:
            self._tasks = None

    def expect(self, url: str) -> None:
        """Somebody will soon want one at this Janus."""
        full = self._keepers[url] >= PER_JANUS or self._keepers.total() >= IN_ALL
        if self._tasks is not None and not full:
            self._keepers[url] += 1
            self._tasks.start_soon(self._keep, url)

    def __len__(self) -> int:
        """How many stand ready."""
        return sum(map(len, self._ready.values()))

    def take(self, url: str) -> Spare | None:
        """It is the taker's from now on, who closes its link."""
        ready = self._ready[url]
        while ready:
            spare = ready.popleft()
            spare.taken.set()
            if spare.link.is_open:
                return spare
        return None

    async def _keep(self, url: str) -> None:
        """One after the other, until one is not wanted in its time."""
        try:
            while await self._offer(url):  # noqa: ASYNC110 - a rest, no poll
                await anyio.sleep(REST_SECONDS)
        except JanusUnavailableError as error:
            log.debug("janus.no_spare", janus=url, reason=str(error))
        finally:
            self._keepers -= Counter([url])

    async def _offer(self, url: str) -> bool:
        """Make one; answers whether somebody took it. Raises JanusUnavailableError."""
        spare = Spare(await connected(url))
        try:
            await self._lay_out(spare, self._ready[url])
        finally:
            if not spare.taken.is_set():
                await spare.link.close()
        return spare.taken.is_set()

    async def _lay_out(self, spare: Spare, ready: deque[Spare]) -> None:
        spare.handle = await _attached(spare.link)
        if spare.handle is None:
            return
        ready.append(spare)
        with anyio.move_on_after(LIFE_SECONDS):
            await spare.taken.wait()
        if not spare.taken.is_set():
            ready.remove(spare)


async def _attached(opened: Link) -> Handle | None:
    """None: Janus has no session for us, and will tell the next host why."""
    handle = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.read)
        try:
            handle = await attached(opened)
        except (JanusUnavailableError, RefusedError) as error:
            log.debug("janus.no_spare", reason=str(error))
        tasks.cancel_scope.cancel()
    return handle


async def connected(url: str) -> Link:
    """Raises JanusUnavailableError."""
    address = Address(
        url,
        Subprotocol("janus-protocol"),
        expected="Janus WebSocket (see ws in janus.transport.websockets.jcfg)",
        advice="is ONAIR_JANUS_MANAGER_WS_URL right, and Janus running?",
    )
    return await link.connected(address, LIMITS)

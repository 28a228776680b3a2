"""A host's own connection to the Janus of his room (docs/decisions/0013-one-socket-per-host.md).

``JanusBridge`` is the ``api.AudioBridge`` of one host: it holds one ``Stay`` at a time.
"""

import anyio
from anyio.abc import TaskGroup

from pkg.janus.wire import JanusUnavailableError
from wsgateway.api import Tell
from wsgateway.exchange import (
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Offer,
    OfferFailed,
    Refusal,
    SetMuted,
    Trickle,
)
from wsgateway.spares import Spare, Spares, connected
from wsgateway.stay import ENTER_SECONDS, NOT_IN, Stay


class JanusBridge:
    """``api.AudioBridge`` for a real Janus. ``tasks`` must outlive it."""

    def __init__(self, tasks: TaskGroup, tell: Tell, spares: Spares) -> None:
        self._spares = spares
        self._tasks = tasks
        self._tell = tell
        self._stay: Stay | None = None

    async def enter(self, effect: Enter) -> Entered | EntryFailed:
        await self.exit()
        stay = self._stay = Stay(effect, self._tell)
        self._tasks.start_soon(_hold, stay, self._spares)
        with anyio.move_on_after(ENTER_SECONDS):
            await stay.decided.wait()
        entry = stay.begin()
        if isinstance(entry, EntryFailed):
            self._stay = None
            stay.scope.cancel()
        return entry

    async def offer(self, effect: Offer) -> Answered | OfferFailed:
        if self._stay is None:
            return OfferFailed(effect.offer, Refusal.UNAVAILABLE, NOT_IN)
        return await self._stay.offer(effect)

    async def trickle(self, effect: Trickle) -> None:
        if self._stay is not None:
            await self._stay.trickle(effect)

    async def set_muted(self, effect: SetMuted) -> None:
        if self._stay is not None:
            await self._stay.set_muted(muted=effect.muted)

    async def exit(self) -> None:
        stay, self._stay = self._stay, None
        if stay is not None:
            await stay.end()


async def _hold(stay: Stay, spares: Spares) -> None:
    """Connect, join, and stay until that ends."""
    try:
        with stay.scope:
            spare = spares.take(stay.url) or Spare(await connected(stay.url))
            try:
                await stay.run(spare.link, spare.handle)
            finally:
                await spare.link.close()
    except JanusUnavailableError as error:
        stay.fail(Refusal.UNAVAILABLE, str(error))
    finally:
        stay.decided.set()
        stay.ended.set()

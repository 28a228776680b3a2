"""What a host's connection needs of Janus. ``janus`` implements it; tests have their own.

One bridge per host: a WebSocket and a session of its own to whatever Janus ``Enter`` names, so
that Janus ends the session when the host's is over, and no host waits behind another.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from wsgateway.exchange import (
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Event,
    Offer,
    OfferFailed,
    SetMuted,
    Trickle,
)

Tell: TypeAlias = Callable[[Event], None]


class AudioBridge(Protocol):
    """One verb at a time, in the order of the effects. What happens between (peers, media,
    candidates, the place's end) goes to the ``tell`` given at construction, which never waits.

    No verb raises for what Janus does or leaves undone; each ends within a bound of its own.
    Cancelling one is allowed, and is followed by ``exit`` or another ``enter``.
    """

    async def enter(self, effect: Enter) -> Entered | EntryFailed:
        """Be in this room and in no other; drops what stood before."""
        ...

    async def offer(self, effect: Offer) -> Answered | OfferFailed: ...

    async def trickle(self, effect: Trickle) -> None:
        """Without a place or an offer: nothing."""
        ...

    async def set_muted(self, effect: SetMuted) -> None:
        """Without a place: nothing."""
        ...

    async def exit(self) -> None:
        """Leave the room and close what was opened; harmless when nothing was. Tells no more."""
        ...


Bridges: TypeAlias = Callable[[Tell], AudioBridge]

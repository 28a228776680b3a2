"""What a host's connection stands on: his socket, his session, his bridge to Janus.

``server``, ``session`` and ``janus`` implement them; tests have their own.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, TypeAlias

from anyio.abc import TaskGroup

from wsgateway.exchange import (
    Answered,
    Effect,
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


class Socket(Protocol):
    """The host's WebSocket."""

    def push(self, text: str) -> int:
        """Queue a text frame, without waiting; answers how many bytes the host has not taken."""
        ...

    def frames(self) -> AsyncGenerator[str | bytes]:
        """What comes in; ends with the socket, however that ends."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Harmless when it is closed already; ends within a bound of its own."""
        ...


class SessionLogic(Protocol):
    def handle(self, event: Event, now: float) -> Sequence[Effect]: ...


class AudioBridge(Protocol):
    """One bridge per host: a WebSocket and a session of its own to whatever Janus ``Enter`` names,
    so that Janus ends the session when the host's is over, and no host waits behind another.

    One verb at a time, in the order of the effects. What happens between (peers, media,
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


Bridges: TypeAlias = Callable[[TaskGroup, Tell], AudioBridge]  # in the connection's own group

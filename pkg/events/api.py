"""How the daemons tell what happened. The implementation is ``teller``; ``wiring`` chooses."""

from typing import Protocol

from pkg.events.records import Event


class Events(Protocol):
    def tell(self, event: Event, at: str | None = None) -> None:
        """Never waits and never raises: the room goes first. ``at``: RFC 3339; None: now."""
        ...


class Silent:
    """Without a stream server nothing is told."""

    def tell(self, event: Event, at: str | None = None) -> None:
        pass


SILENT = Silent()

"""How the daemons tell what happened. The implementation is ``teller``; ``wiring`` chooses."""

from typing import Protocol

from pkg.events.records import Event


class Events(Protocol):
    def tell(self, event: Event) -> None:
        """Never waits and never raises: the room goes first."""
        ...


class Silent:
    """Without a stream server nothing is told."""

    def tell(self, event: Event) -> None:
        pass


SILENT = Silent()

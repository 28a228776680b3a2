"""Stands for ``pkg.events`` where a test wants to know what was told, and of which time."""

from dataclasses import dataclass, field

from pkg.events.records import Event


@dataclass
class Heard:
    """``times``: as given by the teller; None: now."""

    events: list[Event] = field(default_factory=list)
    times: list[str | None] = field(default_factory=list)

    def tell(self, event: Event, at: str | None = None) -> None:
        self.events.append(event)
        self.times.append(at)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

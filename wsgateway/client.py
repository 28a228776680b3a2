"""What one client is told: answers, notifications, and who is in the room. Pure.

``effects`` gathers what is to be sent, with whatever else its session wants done in between.
"""

from typing import Any

from wsgateway.answers import Desk, Reply
from wsgateway.exchange import Effect, Send
from wsgateway.people import Roster, listed, news
from wsgateway.rpc import Call, Frame, Wrong, notification


class Client:
    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self._desk = Desk()
        self._roster: Roster = {}  # as the client has it

    def take(self) -> list[Effect]:
        """What was gathered since the last time."""
        taken, self.effects = self.effects, []
        return taken

    def open(self, frame: Frame) -> list[tuple[Call | Wrong, Reply]]:
        return self._desk.open(frame)

    def settle(self, reply: Reply, outcome: Any) -> None:
        """``outcome``: as for Desk.settle; once for each reply."""
        if text := self._desk.settle(reply, outcome):
            self.effects.append(Send(text))

    def notify(self, method: str, **params: Any) -> None:
        self.effects.append(Send(notification(method, params)))

    def learn(self, roster: Roster) -> list[dict[str, Any]]:
        """The whole list, about to be sent."""
        self._roster = roster
        return listed(roster)

    def follow(self, roster: Roster) -> None:
        """Tell what makes the client's list this one."""
        for method, params in news(self._roster, roster):
            self.notify(method, **params)
        self._roster = roster

"""What REST acknowledged, room by room: the witness holds the rest against it (I8).

An answered call settles a room's state; a call whose answer never came leaves both possible until
the next answer. Calls about one room are made one after the other.

>>> ledger = Ledger()
>>> ledger.answered("blue", "create", 201)
>>> ledger.answered("blue", "start", 200)
>>> ledger.unanswered("blue", "stop")
>>> sorted(ledger.allowed["blue"])
['idle', 'onair']
>>> ledger.answered("blue", "delete", 202)
>>> sorted(ledger.allowed["blue"])
['gone']
"""

from typing import Literal, TypeAlias

Verb: TypeAlias = Literal["create", "start", "stop", "delete"]
State: TypeAlias = Literal["gone", "idle", "onair"]

OUTCOME: dict[Verb, State] = {"create": "idle", "start": "onair", "stop": "idle", "delete": "gone"}
NOT_FOUND = 404


class Ledger:
    """``allowed``: room → states it may be in once things have settled."""

    def __init__(self) -> None:
        self.allowed: dict[str, frozenset[State]] = {}
        self.acknowledged = 0

    def answered(self, room: str, verb: Verb, status: int) -> None:
        """A refusal (409, 503, …) changes nothing; 404 says that the room is gone."""
        if 200 <= status < 300:
            self.acknowledged += 1
            self.allowed[room] = frozenset({OUTCOME[verb]})
        elif status == NOT_FOUND:
            self.allowed[room] = frozenset({"gone"})
        elif status >= 500:
            self.unanswered(room, verb)

    def unanswered(self, room: str, verb: Verb) -> None:
        """A 5xx leaves it open too: what failed may have been after the commit."""
        before: frozenset[State] = self.allowed.get(room, frozenset({"gone"}))
        self.allowed[room] = before | {OUTCOME[verb]}

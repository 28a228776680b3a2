"""What users asked for and were told: in the end etcd must agree with it (I8).

Calls may overlap, fail, or never be answered. So several ends can be right: that of every call
which may have taken effect after all answered ones that ended before it began.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pkg.model import RoomId

Verb: TypeAlias = Literal["create", "start", "stop", "delete"]
End: TypeAlias = Literal["absent", "idle", "onair"]
AFTER: dict[Verb, End] = {"create": "idle", "start": "onair", "stop": "idle", "delete": "absent"}


@dataclass(eq=False)
class Call:
    """``outcome``: ``done`` was acknowledged, ``refused`` surely did nothing, else unknown."""

    verb: Verb
    room_id: RoomId
    began: float
    ended: float = float("inf")
    outcome: Literal["done", "refused", "unknown"] = "unknown"


class Ledger:
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def open(self, verb: Verb, room_id: RoomId, now: float) -> Call:
        call = Call(verb, room_id, now)
        self.calls.append(call)
        return call

    def close(self, call: Call, outcome: Literal["done", "refused", "unknown"], now: float) -> None:
        call.outcome, call.ended = outcome, now

    def ends(self, room_id: RoomId) -> set[End]:
        """How the room may be in the end."""
        told = [c for c in self.calls if c.room_id == room_id and c.outcome != "refused"]
        done = [c for c in told if c.outcome == "done"]
        last = max((c.began for c in done), default=-1.0)
        ends = {AFTER[c.verb] for c in told if c.ended >= last}
        return ends if done else ends | {"absent"}

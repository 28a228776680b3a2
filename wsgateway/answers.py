"""Which of a client's requests wait for an answer, and what goes out once there is one. Pure.

A batch is answered in one piece, when the last of it is; an id is in flight until then. An outcome
that must be fresh is a function, called when the answer goes out.
"""

from dataclasses import dataclass, field
from typing import Any

from wsgateway.exchange import JsonId
from wsgateway.rpc import Call, Frame, Wrong, answer, dump
from wsgateway.rules import Code, Fault


@dataclass(eq=False, slots=True)
class Batch:
    """``missing``: how many of its answers are still to come."""

    missing: int
    answers: list[tuple[JsonId, Any]] = field(default_factory=list)
    ids: set[JsonId] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Reply:
    """The place of one answer; ``wanted`` False: nobody asked (a notification)."""

    id: JsonId
    wanted: bool
    holds_id: bool = False
    batch: Batch | None = None


class Desk:
    """One client's."""

    def __init__(self) -> None:
        self._in_flight: set[JsonId] = set()

    def open(self, frame: Frame) -> list[tuple[Call | Wrong, Reply]]:
        """Each call with the place of its answer; ``settle`` must be called once for each.

        A request under an id that is in flight comes out as Wrong.
        """
        missing = sum(_wants_answer(call) for call in frame.calls)
        batch = Batch(missing) if frame.is_batch else None
        return [self._place(call, batch) for call in frame.calls]

    def _place(self, call: Call | Wrong, batch: Batch | None) -> tuple[Call | Wrong, Reply]:
        if isinstance(call, Wrong) or not call.wants_answer:
            return call, Reply(call.id, _wants_answer(call), batch=batch)
        if call.id in self._in_flight:
            fault = Fault(Code.INVALID_REQUEST, "a request with this id waits for its answer")
            return Wrong(call.id, fault), Reply(call.id, wanted=True, batch=batch)
        self._in_flight.add(call.id)
        return call, Reply(call.id, wanted=True, holds_id=True, batch=batch)

    def settle(self, reply: Reply, outcome: Any) -> str | None:
        """``outcome``: a result, a function that gives it, or a rules.Fault. The text that is to
        be sent now, if any."""
        if not reply.wanted:
            return None
        ids = {reply.id} if reply.holds_id else set()
        if reply.batch is None:
            self._in_flight -= ids
            return dump(_said(reply.id, outcome))
        reply.batch.answers.append((reply.id, outcome))
        reply.batch.ids |= ids
        reply.batch.missing -= 1
        return None if reply.batch.missing else self._sent(reply.batch)

    def _sent(self, batch: Batch) -> str:
        self._in_flight -= batch.ids
        return dump([_said(call_id, outcome) for call_id, outcome in batch.answers])


def _said(call_id: JsonId, outcome: Any) -> dict[str, Any]:
    return answer(call_id, outcome() if callable(outcome) else outcome)


def _wants_answer(call: Call | Wrong) -> bool:
    return isinstance(call, Wrong) or call.wants_answer

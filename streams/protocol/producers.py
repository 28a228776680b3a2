"""Idempotent producers: is this append new, a repetition, or out of turn (§5.2.1)?"""

from dataclasses import dataclass
from enum import Enum

from streams.protocol.refusal import Refusal

MAX_NUMBER = 2**53 - 1  # what JavaScript can count to


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its producer."""

    producer_id: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a producer has come in one stream."""

    epoch: int
    seq: int


class Verdict(Enum):
    NEW = "new"
    DUPLICATE = "duplicate"


def judge(place: Place | None, claim: Claim) -> Verdict:
    """
    >>> judge(None, Claim("p", 0, 0)), judge(Place(0, 4), Claim("p", 0, 3))
    (<Verdict.NEW: 'new'>, <Verdict.DUPLICATE: 'duplicate'>)
    >>> for place, claim in [(None, Claim("p", 0, 1)), (Place(2, 4), Claim("p", 1, 0)),
    ...                      (Place(2, 4), Claim("p", 3, 1)), (Place(2, 4), Claim("p", 2, 6))]:
    ...     try: judge(place, claim)
    ...     except Refusal as refusal: print(refusal.status, dict(refusal.headers))
    409 {'Producer-Expected-Seq': '0', 'Producer-Received-Seq': '1'}
    403 {'Producer-Epoch': '2'}
    400 {}
    409 {'Producer-Expected-Seq': '5', 'Producer-Received-Seq': '6'}
    """
    if place is None:
        return _in_turn(0, claim)
    if claim.epoch < place.epoch:
        headers = {"Producer-Epoch": str(place.epoch)}
        raise Refusal(403, "the producer was replaced by one of a later epoch", headers)
    if claim.epoch > place.epoch:
        if claim.seq != 0:
            raise Refusal(400, "a new epoch begins with Producer-Seq 0")
        return Verdict.NEW
    if claim.seq <= place.seq:
        return Verdict.DUPLICATE
    return _in_turn(place.seq + 1, claim)


def _in_turn(expected: int, claim: Claim) -> Verdict:
    if claim.seq == expected:
        return Verdict.NEW
    headers = {"Producer-Expected-Seq": str(expected), "Producer-Received-Seq": str(claim.seq)}
    raise Refusal(409, "an earlier append of this producer is missing", headers)

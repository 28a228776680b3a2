"""Error codes and close codes, each with words: one table each. docs/gateway.md explains them.

``session`` answers and closes with them; ``connection`` closes with them before there is a
session, or beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from wsgateway.exchange import Air, Close, End


class Code(IntEnum):
    """JSON-RPC error codes (the first four: JSON-RPC 2.0, section 5.1)."""

    MALFORMED = -32700
    INVALID_REQUEST = -32600
    UNKNOWN_METHOD = -32601
    INVALID_PARAMS = -32602
    ROOM_NOT_ONAIR = -32010
    NOT_JOINED = -32011
    JANUS_UNAVAILABLE = -32012
    CLOSING = -32013
    SUPERSEDED = -32014


MESSAGES: dict[Code, str] = {
    Code.MALFORMED: "malformed-json",
    Code.INVALID_REQUEST: "invalid-request",
    Code.UNKNOWN_METHOD: "unknown-method",
    Code.INVALID_PARAMS: "invalid-params",
    Code.ROOM_NOT_ONAIR: "room-not-onair",
    Code.NOT_JOINED: "not-joined",
    Code.JANUS_UNAVAILABLE: "janus-unavailable",
    Code.CLOSING: "closing",
    Code.SUPERSEDED: "superseded",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request is not answered with a result; ``words`` are for a person, and shown."""

    code: Code
    words: str

    def as_json(self) -> dict[str, Any]:
        """The ``error`` member of an answer."""
        return {
            "code": int(self.code),
            "message": MESSAGES[self.code],
            "data": {"detail": self.words},
        }


@dataclass(frozen=True, slots=True)
class Closing:
    """A close code (RFC 6455, section 7.4) and its reason (at most 123 bytes)."""

    code: int
    words: str


CLOSE: dict[End, Closing] = {
    End.LEFT: Closing(1000, "left"),
    End.BINARY: Closing(1003, "send text frames, not binary ones"),
    End.NOT_UTF8: Closing(1007, "a text frame was not UTF-8"),
    End.TOO_FAST: Closing(1008, "more than 20 messages a second"),
    End.TOO_BIG: Closing(1009, "a frame was larger than 64 KiB"),
    End.FAILED: Closing(1011, "an error of the gateway's own: connect again"),
    End.STOPPING: Closing(1012, "this gateway stops: connect again"),
    End.TOO_SLOW: Closing(1013, "did not read what was sent: connect again"),
    End.EXPIRED: Closing(4401, "the token is over: get a new one"),
    End.REVOKED: Closing(4401, "the token was taken back"),
    End.KICKED: Closing(4403, "a moderator put you out of the room"),
    End.ROOM_CLOSED: Closing(4404, "the room is no longer on air"),
    End.NOT_JOINED: Closing(4408, "not joined in time"),
    End.ELSEWHERE: Closing(4409, "connected elsewhere already; takeover=1 takes its place"),
    End.TAKEN_OVER: Closing(4410, "this user connected anew, and took this connection's place"),
    End.ROOM_FULL: Closing(4429, "the room is full"),
}


def close(why: End) -> Close:
    """The effect that ends a connection for this reason."""
    return Close(CLOSE[why].code, CLOSE[why].words)


def closing(why: End) -> Fault:
    """What requests get that wait when a connection is closed."""
    return Fault(Code.CLOSING, CLOSE[why].words)


# --- why not ------------------------------------------------------------------------------

MOVING = Fault(Code.JANUS_UNAVAILABLE, "the room is between two places: publish after roomMoved")
OFF_AIR = Fault(Code.ROOM_NOT_ONAIR, "the room is not on air: start it, and join again")
STILL_COMING = Fault(Code.ROOM_NOT_ONAIR, "the room is still starting: join again")
NO_ANSWER = Fault(Code.JANUS_UNAVAILABLE, "the room's Janus does not let us in: join again")
REFUSED = Fault(Code.JANUS_UNAVAILABLE, "the room's Janus refuses this gateway: tell an operator")
JOIN_FIRST = Fault(Code.NOT_JOINED, "join first")
PUBLISH_FIRST = Fault(Code.INVALID_PARAMS, "there is no offer that this belongs to: publish first")
LATER_OFFER = Fault(Code.SUPERSEDED, "a later publish took this one's place")
TOO_MANY_OFFERS = Fault(Code.INVALID_PARAMS, "too many offers: one a second is enough")

STOPPED = "the room was stopped"
DELETED = "the room was deleted"


def why_not_joined(air: Air) -> Fault:
    """Of a join that has waited long enough."""
    match air:
        case Air.ON:
            return NO_ANSWER
        case Air.COMING:
            return STILL_COMING
        case Air.OFF | Air.GONE:
            return OFF_AIR


# --- methods ------------------------------------------------------------------------------

# The members that each method's params may have.
METHODS: dict[str, frozenset[str]] = {
    "join": frozenset({"display"}),
    "publish": frozenset({"sdp"}),
    "trickle": frozenset({"candidate"}),
    "mute": frozenset(),
    "unmute": frozenset(),
    "leave": frozenset(),
    "ping": frozenset(),
}


def wrong_call(method: str, params: Mapping[str, Any]) -> Fault | None:
    """
    >>> print(wrong_call("mute", {"room": 1}))
    Fault(code=<Code.INVALID_PARAMS: -32602>, words="unknown field 'room' in params")
    """
    known = METHODS.get(method)
    if known is None:
        words = f"unknown method {method[:64]!r}; there are {', '.join(METHODS)}"
        return Fault(Code.UNKNOWN_METHOD, words)
    if unknown := sorted(params.keys() - known):
        return Fault(Code.INVALID_PARAMS, f"unknown field {unknown[0][:64]!r} in params")
    return None

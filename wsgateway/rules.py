"""Error codes and close codes, each with words: one table each. docs/gateway.md explains them.

``session`` answers and closes with them; ``connection`` closes with them before there is a
session, or beside it.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from wsgateway.exchange import Close, End


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

"""Janus's session protocol and the AudioBridge, as the gateway speaks them. No I/O.

Everything that goes to Janus is built here, value by value: nothing of a client's gets there but
a checked SDP, a checked candidate and a cleaned name. Sources:
https://janus.conf.meetecho.com/docs/rest.html and …/audiobridge.html, checked against Janus 1.1.2.
Called by ``janus``.

>>> handle = Handle(1, 2)
>>> configure(handle, muted=True)["body"]
{'request': 'configure', 'muted': True}
>>> display("ann", "Ann O'Neil", 7)
'{"u":"ann","f":7,"d":"Ann O\\'Neil"}'
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pkg import keys
from pkg.janus.wire import (
    CORE_OUR_FAULT,
    CORE_PLUGIN_NOT_FOUND,
    CORE_UNAUTHORIZED,
    INVALID_ELEMENT,
    MISSING_ELEMENT,
    NO_SUCH_ROOM,
    PLUGIN,
    UNAUTHORIZED,
    UNKNOWN_REQUEST,
    Body,
    Failure,
    MalformedReplyError,
    plugin_data,
)
from wsgateway.exchange import (
    Event,
    MediaLost,
    MediaUp,
    Peer,
    PeerLeft,
    PeersSeen,
    Place,
    PlaceLost,
    Refusal,
    RemoteCandidate,
    Talking,
)

MAX_DISPLAY = 64
NOT_IN_A_ROOM = 487
_CORE_REFUSALS = CORE_OUR_FAULT | {CORE_UNAUTHORIZED, CORE_PLUGIN_NOT_FOUND}
_ROOM_REFUSALS = frozenset({UNKNOWN_REQUEST, MISSING_ELEMENT, INVALID_ELEMENT, UNAUTHORIZED})


@dataclass(frozen=True, slots=True)
class Handle:
    """A session's attachment to the AudioBridge: one participant, one PeerConnection."""

    session_id: int
    handle_id: int


@dataclass(frozen=True, slots=True)
class Joined:
    """``peers``: all but ourselves, a stale participant of our own user perhaps among them."""

    participant_id: int
    peers: tuple[Peer, ...]


# --- requests -----------------------------------------------------------------------------


def creation() -> Body:
    return {"janus": "create"}


def attachment(session_id: int) -> Body:
    return {"janus": "attach", "plugin": PLUGIN, "session_id": session_id}


def keepalive(session_id: int) -> Body:
    """Janus forgets a session that says nothing for a minute."""
    return {"janus": "keepalive", "session_id": session_id}


def detachment(handle: Handle) -> Body:
    return _to(handle, "detach")


def join(handle: Handle, place: Place, shown: str, *, muted: bool) -> Body:
    """``shown``: as ``display`` builds it."""
    body = {
        "request": "join",
        "room": place.number,
        "pin": place.pin,
        "display": shown,
        "muted": muted,
    }
    return _to(handle, "message") | {"body": body}


def configure(handle: Handle, *, muted: bool, sdp: str | None = None) -> Body:
    message = _to(handle, "message") | {"body": {"request": "configure", "muted": muted}}
    return message | ({"jsep": {"type": "offer", "sdp": sdp}} if sdp is not None else {})


def kick(handle: Handle, place: Place, participant_id: int) -> Body:
    body = {
        "request": "kick",
        "room": place.number,
        "secret": place.secret,
        "id": participant_id,
    }
    return _to(handle, "message") | {"body": body}


def leave(handle: Handle) -> Body:
    """Answered once we are out of the room; a destroyed session's participant may linger."""
    return _to(handle, "message") | {"body": {"request": "leave"}}


def trickle(handle: Handle, candidate: Mapping[str, object] | None) -> Body:
    """
    >>> trickle(Handle(1, 2), {"candidate": "candidate:1", "sdpMid": "0", "body": {}})["candidate"]
    {'candidate': 'candidate:1', 'sdpMid': '0'}
    """
    if candidate is None:
        return _to(handle, "trickle") | {"candidate": {"completed": True}}
    names = ("candidate", "sdpMid", "sdpMLineIndex")
    known = {name: candidate[name] for name in names if name in candidate}
    return _to(handle, "trickle") | {"candidate": known}


def _to(handle: Handle, verb: str) -> Body:
    return {"janus": verb, "session_id": handle.session_id, "handle_id": handle.handle_id}


def display(user_id: str, name: str | None, fence: int) -> str:
    """What other gateways know our participant by."""
    shown: dict[str, object] = {"u": user_id, "f": fence}
    if name is not None:
        shown["d"] = name[:MAX_DISPLAY]
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False)


# --- answers ------------------------------------------------------------------------------


def read_id(body: Mapping[str, Any]) -> int:
    """Of the session or handle that was made. Raises MalformedReplyError."""
    data = body.get("data")
    return _integer(data.get("id") if isinstance(data, dict) else None)


def read_joined(body: Mapping[str, Any]) -> Joined:
    """Raises MalformedReplyError."""
    data = plugin_data(body)
    if data.get("audiobridge") != "joined":
        raise MalformedReplyError("a join was answered by something else")
    return Joined(_integer(data.get("id")), _peers(data))


def read_answer(body: Mapping[str, Any]) -> str:
    """The answer's SDP. Raises MalformedReplyError."""
    jsep = body.get("jsep")
    if not isinstance(jsep, dict) or jsep.get("type") != "answer":
        raise MalformedReplyError("an offer was not answered")
    if not isinstance(jsep.get("sdp"), str):
        raise MalformedReplyError("an answer without SDP")
    return str(jsep["sdp"])


def refusal(failure: Failure) -> tuple[Refusal, str]:
    """What a failed join means.

    >>> refusal(Failure(485, "No such room (1)", core=False))
    (<Refusal.NO_ROOM: 'no-room'>, 'Janus: No such room (1) (485)')
    >>> refusal(Failure(489, "Unauthorized (wrong pin)", core=False))[0]
    <Refusal.REFUSED: 'refused'>
    >>> refusal(Failure(458, "No such session", core=True))[0]
    <Refusal.UNAVAILABLE: 'unavailable'>
    """
    said = words(failure)
    if not failure.core and failure.code == NO_SUCH_ROOM:
        return Refusal.NO_ROOM, said
    refusals = _CORE_REFUSALS if failure.core else _ROOM_REFUSALS
    return (Refusal.REFUSED if failure.code in refusals else Refusal.UNAVAILABLE), said


def words(failure: Failure) -> str:
    return f"Janus: {failure.reason} ({failure.code})"


# --- what Janus says unasked --------------------------------------------------------------


def concerns(message: Mapping[str, Any], handle: Handle | None) -> bool:
    """Not what is still said of a handle that we let go; what has no sender is the session's.

    >>> concerns({"janus": "hangup", "sender": 2}, Handle(1, 3))
    False
    >>> concerns({"janus": "timeout"}, None)
    True
    """
    sender = message.get("sender")
    return sender is None or (handle is not None and sender == handle.handle_id)


def event(message: Mapping[str, Any], attempt: int, offer: int) -> Event | None:
    """What it means for the host; None for what does not matter. Never raises.

    ``PeersSeen`` leaves ``talking`` open here: Janus repeats everything but that.

    >>> event({"janus": "hangup", "reason": "DTLS alert"}, 1, 2)
    MediaLost(offer=2, words='DTLS alert')
    >>> event({"janus": "slowlink", "uplink": True}, 1, 2)
    """
    match message.get("janus"):
        case "event":
            return _of_the_room(plugin_data(message), attempt)
        case "timeout":
            return PlaceLost(attempt, "Janus ended our session: it had not heard from us")
        case "detached":
            return PlaceLost(attempt, "Janus ended our handle")
        case _:
            return _of_the_media(message, offer)


def _of_the_media(message: Mapping[str, Any], offer: int) -> Event | None:
    match message:
        case {"janus": "webrtcup"}:
            return MediaUp(offer)
        case {"janus": "hangup"}:
            return MediaLost(offer, str(message.get("reason", ""))[:200])
        case {"janus": "trickle", "candidate": dict(candidate)}:
            return RemoteCandidate(offer, None if "completed" in candidate else candidate)
        case _:
            return None


def _of_the_room(data: Mapping[str, Any], attempt: int) -> Event | None:
    match data:
        case {"audiobridge": "destroyed"}:
            return PlaceLost(attempt, "the AudioBridge room was destroyed")
        case {"audiobridge": "talking" | "stopped-talking" as said, "id": int(participant)}:
            return Talking(attempt, participant, talking=said == "talking")
        case {"audiobridge": "event", "leaving": int(participant)}:
            return PeerLeft(attempt, participant)
        case {"audiobridge": "event", "kicked": int(participant)}:
            return PeerLeft(attempt, participant)
        case {"audiobridge": "joined" | "event", "participants": list()}:
            return PeersSeen(attempt, _peers(data))
        case _:
            return None


def _peers(data: Mapping[str, Any]) -> tuple[Peer, ...]:
    found = data.get("participants")
    items = found if isinstance(found, list) else []
    return tuple(peer for item in items if (peer := _peer(item)) is not None)


def _peer(item: object) -> Peer | None:
    """
    >>> peer = _peer({"id": 7, "display": '{"u":"ann","f":3,"d":"Ann"}', "setup": True})
    >>> peer == Peer(7, "ann", "Ann", live=True, fence=3)
    True
    >>> [_peer({"id": 7, "display": shown}).user_id for shown in ("test tone", '{"u":"/"}', None)]
    ['janus-7', 'janus-7', 'janus-7']
    """
    if not isinstance(item, dict) or type(item.get("id")) is not int:
        return None
    user_id, name, fence = _shown(item.get("display"))
    return Peer(
        participant_id=item["id"],
        user_id=user_id or f"janus-{item['id']}",
        display=name,
        muted=item.get("muted") is True,
        live=item.get("setup") is True,
        talking=item.get("talking") is True,
        fence=fence,
    )


def _shown(text: object) -> tuple[str | None, str | None, int]:
    """User id, name, fence; of a participant that no gateway let in, what he calls himself."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    match found:
        case {"u": str(user_id), **more} if keys.is_user_id(user_id):
            name, fence = more.get("d"), more.get("f")
            shown = name[:MAX_DISPLAY] if isinstance(name, str) else None
            return user_id, shown, fence if isinstance(fence, int) else 0
        case _:
            return None, text[:MAX_DISPLAY] if isinstance(text, str) else None, 0


def _integer(value: object) -> int:
    if type(value) is not int:
        raise MalformedReplyError("no number where Janus puts one")
    return value

"""What reaches a host's session, and what it wants done. Data only: ``session`` decides with it,
``connection`` carries it out.

A session knows no socket, clock or etcd. Each event goes in with the time (seconds, any steady
clock), a list of effects comes out, to be carried out in order. Effects that take time answer
within 10 s, come what may, with an event that carries their ``attempt`` or ``offer``: numbers
that rise over the session's life. News of an older one is stale, and ignored by the session.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from pkg.model import Epoch, HostStatus, RoomId

JsonId: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Place:
    """The AudioBridge room that a room is in just now. ``pin`` and ``secret`` are never shown."""

    url: str  # the Janus's WebSocket
    number: int
    epoch: Epoch
    pin: str = field(repr=False)
    secret: str = field(repr=False)


class Air(StrEnum):
    """What etcd says of the room."""

    ON = "on"  # there is a place
    COMING = "coming"  # wanted, and Janus has not said where yet
    OFF = "off"  # idle or stopping
    GONE = "gone"  # being deleted, or deleted


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody in the AudioBridge room, as Janus tells. ``live``: his media is up."""

    participant_id: int
    user_id: str
    display: str | None = None
    muted: bool = False
    live: bool = False
    talking: bool = False
    fence: int = 0


# --- events -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A text frame of the client's."""

    text: str


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """First thing a session hears, and again on each change. ``place`` only while ``air`` is ON."""

    air: Air
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    """Janus let us in; ``others`` without ourselves."""

    attempt: int
    participant_id: int
    others: tuple[Peer, ...]


class Refusal(StrEnum):
    NO_ROOM = "no-room"  # Janus does not know the room (any more): look again
    UNAVAILABLE = "unavailable"  # no answer
    REFUSED = "refused"  # pin or configuration: an operator must look


@dataclass(frozen=True, slots=True)
class EntryFailed:
    attempt: int
    why: Refusal
    words: str


@dataclass(frozen=True, slots=True)
class Answered:
    """``participant_id``: a fresh handle may have made us another participant."""

    offer: int
    sdp: str
    participant_id: int


@dataclass(frozen=True, slots=True)
class OfferFailed:
    """REFUSED: Janus finds the offer wrong, else it did not answer. ``words`` may be shown to the
    client. The place stands, unless PlaceLost says otherwise."""

    offer: int
    why: Refusal
    words: str


@dataclass(frozen=True, slots=True)
class PeersSeen:
    """Some who came, or of whom something changed; ourselves perhaps among them."""

    attempt: int
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class PeerLeft:
    attempt: int
    participant_id: int


@dataclass(frozen=True, slots=True)
class Talking:
    attempt: int
    participant_id: int
    talking: bool


@dataclass(frozen=True, slots=True)
class MediaUp:
    offer: int


@dataclass(frozen=True, slots=True)
class MediaLost:
    """WebRTC broke (ICE, DTLS); the place stands."""

    offer: int
    words: str


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """Janus trickles; ``candidate`` None: that was all."""

    offer: int
    candidate: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class PlaceLost:
    """The connection to Janus ended, or Janus put us out (room destroyed, kicked)."""

    attempt: int
    words: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """A moderator's word (model.Order)."""

    muted: bool
    by: str


class End(StrEnum):
    """Why a connection is closed; ``rules.CLOSE`` has code and words for each."""

    # told to the session (Ended)
    EXPIRED = "expired"
    REVOKED = "revoked"
    KICKED = "kicked"
    TAKEN_OVER = "taken-over"
    STOPPING = "stopping"  # this gateway ends: connect again
    TOO_SLOW = "too-slow"  # does not read
    # found by the session (Close)
    LEFT = "left"
    TOO_FAST = "too-fast"
    NOT_JOINED = "not-joined"
    ROOM_CLOSED = "room-closed"
    # before there is a session, or beside it
    ELSEWHERE = "elsewhere"  # connected already, and no takeover asked for
    ROOM_FULL = "room-full"
    BINARY = "binary"
    NOT_UTF8 = "not-utf8"
    TOO_BIG = "too-big"
    FAILED = "failed"  # a fault of our own


@dataclass(frozen=True, slots=True)
class Ended:
    why: End


@dataclass(frozen=True, slots=True)
class Woken:
    """The time of the last ``WakeAt`` has come."""


EntryNews: TypeAlias = Entered | EntryFailed | PlaceLost
PeopleNews: TypeAlias = PeersSeen | PeerLeft | Talking
OfferNews: TypeAlias = Answered | OfferFailed | MediaUp | MediaLost | RemoteCandidate
Event: TypeAlias = (
    Received | RoomSeen | Ordered | Ended | Woken | EntryNews | PeopleNews | OfferNews
)


# --- effects ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """After everything sent before it; always the last effect of a session's life, and after an
    Exit if there was an Enter."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Enter:
    """Be in this AudioBridge room, in no other; drop what stood before. Answers Entered or
    EntryFailed, and from then on tells of peers. A stale participant of our own user is put out,
    one of a later connection (a higher ``fence``) is not: then this one fails."""

    attempt: int
    place: Place
    user_id: str
    display: str | None
    muted: bool
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """Give Janus the offer, on a fresh handle if there was an offer since Enter. Answers Answered
    or OfferFailed. A later Offer may come before that: then only the later one counts."""

    offer: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Trickle:
    """A candidate of that offer's, perhaps before its answer; None: that was all."""

    offer: int
    candidate: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class SetMuted:
    """From now on, on handles to come as well, until the next Enter."""

    muted: bool


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave the AudioBridge room, or give up the way into it."""


@dataclass(frozen=True, slots=True)
class Note:
    """Write into the host's key in etcd what changed of him (model.Host)."""

    status: HostStatus
    display: str | None
    muted: bool


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Replaces the last one; None: no more."""

    time: float | None


Effect: TypeAlias = Send | Close | Enter | Offer | Trickle | SetMuted | Exit | Note | WakeAt


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this session is for, from the verified token.

    ``fence``: higher for each connection of this user, over all gateways (``lock.Claim``).
    """

    room_id: RoomId
    user_id: str
    ice_servers: tuple[dict[str, object], ...] = ()
    fence: int = 0

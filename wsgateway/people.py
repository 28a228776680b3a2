"""Who is in the room, as a client is told. Pure; ``session`` keeps one of these.

Janus counts participants, clients count users: a user who is there twice (an old connection that
is being put out, a fresh handle beside the former) is shown once.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pkg.errors import OnairError
from wsgateway.exchange import Peer, PeerLeft, PeersSeen, PeopleNews, Talking

MAX_DISPLAY = 64  # characters
# Invisible, but part of how emoji and some scripts are written.
_JOINERS = "\u200c\u200d"

Roster: TypeAlias = Mapping[str, "Participant"]  # by user id
News: TypeAlias = tuple[str, dict[str, Any]]  # a notification's method and params


class DisplayError(OnairError):
    """What is wrong with a name, in words for the one who sent it."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A user in the room; ``you``: the one whom we tell."""

    user_id: str
    display: str | None = None
    muted: bool = False
    talking: bool = False
    live: bool = False
    you: bool = False

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"userId": self.user_id}
        if self.display is not None:
            shown["display"] = self.display
        shown |= {"muted": self.muted, "talking": self.talking, "live": self.live}
        return shown | ({"you": True} if self.you else {})


class People:
    """Everybody whom Janus told us of since we entered."""

    def __init__(self) -> None:
        self._own: int | None = None
        self._own_talks = False
        self._peers: dict[int, Peer] = {}

    def enter(self, participant_id: int, others: Iterable[Peer]) -> None:
        self._own, self._own_talks = participant_id, False
        self._peers = {}
        self._see(others)

    def become(self, participant_id: int) -> None:
        """A fresh handle made us another participant; the former one's end will be told."""
        self._own, self._own_talks = participant_id, False

    def hear(self, event: PeopleNews) -> None:
        """Of the attempt that we entered by."""
        match event:
            case PeersSeen(_, peers):
                self._see(peers)
            case PeerLeft(_, participant_id):
                self._peers.pop(participant_id, None)
            case Talking(_, participant_id, talking) if participant_id == self._own:
                self._own_talks = talking
            case Talking(_, participant_id, talking):
                if peer := self._peers.get(participant_id):
                    self._see([replace(peer, talking=talking)])

    def _see(self, peers: Iterable[Peer]) -> None:
        self._peers |= {peer.participant_id: peer for peer in peers}

    def roster(self, me: Participant) -> Roster:
        """``me`` first, as he is but for his talking; the others in the order they came."""
        talks = self._own_talks and me.live and not me.muted
        shown = {me.user_id: replace(me, talking=talks, you=True)}
        for peer in self._peers.values():
            if peer.user_id != me.user_id and _is_better(peer, shown.get(peer.user_id)):
                shown[peer.user_id] = _shown(peer)
        return shown


def _is_better(peer: Peer, shown: Participant | None) -> bool:
    """Of two of one user, the later one, unless only the former has media."""
    return shown is None or peer.live or not shown.live


def _shown(peer: Peer) -> Participant:
    """Janus says nothing when somebody who talks is muted."""
    talking = peer.talking and not peer.muted
    return Participant(peer.user_id, peer.display, peer.muted, talking, peer.live)


def listed(roster: Roster) -> list[dict[str, Any]]:
    return [participant.as_json() for participant in roster.values()]


def news(before: Roster, after: Roster) -> list[News]:
    """The notifications that make one list of the other."""
    left: list[News] = [
        ("participantLeft", {"userId": user}) for user in before if user not in after
    ]
    changed: list[News] = [
        (_verb(user in before), {"participant": participant.as_json()})
        for user, participant in after.items()
        if before.get(user) != participant
    ]
    return left + changed


def _verb(known: bool) -> str:  # noqa: FBT001
    return "participantUpdated" if known else "participantJoined"


def cleaned_display(value: object) -> str | None:
    """A name to show beside others: no controls, nothing that turns text around, single spaces.

    None if nothing is left. Raises DisplayError.

    >>> cleaned_display("  Ann\\u202e \\t O\\u0000Neil ")
    'Ann ONeil'
    >>> cleaned_display("x" * 65)
    Traceback (most recent call last):
    wsgateway.people.DisplayError: display must have at most 64 characters
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise DisplayError("display must be a string")
    spaced = " ".join(unicodedata.normalize("NFC", value).split())
    kept = "".join(filter(_is_shown, spaced))
    text = " ".join(kept.split())
    if len(text) > MAX_DISPLAY:
        raise DisplayError(f"display must have at most {MAX_DISPLAY} characters")
    return text or None


def _is_shown(character: str) -> bool:
    return character in _JOINERS or not unicodedata.category(character).startswith("C")

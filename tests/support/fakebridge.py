"""What really is in Janus, as far as one host's session goes: carries out what the session wants,
and knows what others must have been told."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from pkg.model import HostStatus
from tests.support.hosttalk import CANDIDATE, ME
from wsgateway import sdp
from wsgateway.exchange import Effect, Enter, Exit, Note, Offer, Peer, Place, SetMuted, Trickle


class FakeBridge:
    """``entering`` and ``stay``: the Enter that is under way, or got us in."""

    def __init__(self) -> None:
        self.entering: Enter | None = None
        self.stay: Enter | None = None
        self.own = 1
        self.muted = False
        self.peers: dict[int, Peer] = {}
        self.offer: int | None = None
        self.live = False

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Enter():
                self.leave()
                self.entering, self.muted = effect, effect.muted
            case Exit():
                assert self.entering or self.stay, "there is something to leave"
                self.leave()
            case Offer(number):
                assert self.stay, "we are in"
                self.drop_offer()
                self.offer = number
            case Trickle(number):
                assert number == self.offer
            case SetMuted(muted):
                assert self.stay
                assert muted is not self.muted
                self.muted = muted
            case _:
                pass

    def let_in(self, peers: tuple[Peer, ...]) -> None:
        self.entering, self.stay = None, self.entering
        self.peers = {peer.participant_id: peer for peer in peers}

    def leave(self) -> None:
        self.entering = self.stay = None
        self.peers = {}
        self.drop_offer()

    def drop_offer(self) -> None:
        self.offer, self.live = None, False

    # --- what must have been told ---

    def check_note(self, note: Note) -> None:
        expected = HostStatus.LIVE if self.live else HostStatus.JOINED
        assert note.status == (expected if self.stay else HostStatus.CONNECTED)
        assert not self.stay or note.muted == self.muted

    def check_list(self, people: Mapping[str, dict[str, Any]]) -> None:
        users = [peer.user_id for peer in self.peers.values()]
        assert set(people) == {*users, ME}
        assert people[ME]["you"]
        assert (people[ME]["live"], people[ME]["muted"]) == (self.live, self.muted)
        for peer in self.peers.values():
            if users.count(peer.user_id) == 1 and peer.user_id != ME:
                shown = people[peer.user_id]
                assert (shown["live"], shown["muted"]) == (peer.live, peer.muted)
                assert shown["talking"] == (peer.talking and not peer.muted)


def check(effect: Effect, place: Place | None) -> None:
    """Nothing of a client's reaches Janus but what was checked; ``place``: as etcd shows it."""
    match effect:
        case Enter():
            assert effect.place == place
            assert effect.user_id == ME
            _check_display(effect.display)
        case Offer(_, text):
            assert text == sdp.offer(text)
        case Trickle(_, candidate) if candidate is not None:
            assert candidate == {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0}
        case Note():
            _check_display(effect.display)
        case _:
            pass


def _check_display(display: str | None) -> None:
    if display is not None:
        assert 0 < len(display) <= 64
        assert not {"Cc", "Cs"} & {unicodedata.category(c) for c in display}
        assert "\u202e" not in display

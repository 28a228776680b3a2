"""A host's session: his offers, his voice, and who else is there."""

from typing import Any

import pytest

from pkg.model import HostStatus
from tests.support.hosttalk import CANDIDATE, ME, OFFER, OWN, Talk
from wsgateway.exchange import (
    Answered,
    Effect,
    Enter,
    Entered,
    MediaLost,
    MediaUp,
    Note,
    Offer,
    OfferFailed,
    Ordered,
    Peer,
    PeerLeft,
    PeersSeen,
    PlaceLost,
    Refusal,
    RemoteCandidate,
    Send,
    SetMuted,
    Talking,
    Trickle,
)
from wsgateway.sdp import MAX_CANDIDATES

BEN = Peer(7, "ben", "Ben")


def _wanted(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Send | Note)]


# --- offers -------------------------------------------------------------------------------


def test_an_offer_goes_to_janus_and_its_answer_comes_back() -> None:
    talk = Talk().join()
    request = talk.ask("publish", sdp=OFFER)
    assert talk.of(Offer) == [Offer(1, OFFER)]
    talk.tell(Answered(1, "v=0 answer", OWN))
    assert talk.result(request) == {"sdp": "v=0 answer"}
    assert not talk.people[ME]["live"]
    talk.tell(MediaUp(1))
    assert talk.people[ME]["live"]
    assert talk.of(Note)[-1] == Note(HostStatus.LIVE, "Ann", muted=False)


def test_a_bad_offer_is_refused_in_words_and_the_former_stands() -> None:
    talk = Talk().join()
    talk.publish()
    code, words = talk.error(talk.ask("publish", sdp="v=0\r\nm=video"))
    assert (code, words.startswith("sdp")) == (-32602, True)
    assert talk.error(talk.ask("publish"))[0] == -32602
    assert talk.people[ME]["live"]
    assert len(talk.of(Offer)) == 1


@pytest.mark.parametrize(
    ("why", "code"), [(Refusal.REFUSED, -32602), (Refusal.UNAVAILABLE, -32012)]
)
def test_an_offer_that_fails_at_janus(why: Refusal, code: int) -> None:
    talk = Talk().join()
    request = talk.ask("publish", sdp=OFFER)
    talk.tell(OfferFailed(1, why, "words"))
    assert talk.error(request) == (code, "words")
    assert not _wanted(talk.tell(MediaUp(1)))
    assert not talk.people[ME]["live"]


def test_a_later_offer_takes_the_place_of_one_that_waits() -> None:
    talk = Talk().join()
    first = talk.ask("publish", sdp=OFFER)
    second = talk.ask("publish", sdp=OFFER)
    assert talk.error(first)[0] == -32014
    assert not talk.tell(Answered(1, "old", OWN), MediaUp(1), MediaLost(1, "old")), "stale"
    talk.tell(Answered(2, "new", OWN))
    assert talk.result(second) == {"sdp": "new"}


def test_a_second_offer_is_a_new_start() -> None:
    """Not live until its media is up; the fresh handle may make us another participant."""
    talk = Talk().join()
    talk.publish()
    request = talk.ask("publish", sdp=OFFER)
    assert not talk.people[ME]["live"]
    assert talk.of(Note)[-1].status is HostStatus.JOINED
    talk.tell(PeersSeen(1, (Peer(9, ME),)), Answered(2, "new", 9), PeerLeft(1, OWN), MediaUp(2))
    assert talk.result(request) == {"sdp": "new"}
    assert talk.people[ME]["live"]
    talk.tell(Talking(1, 9, talking=True))
    assert talk.people[ME]["talking"]
    assert not talk.tell(Talking(1, OWN, talking=False)), "that was the former"
    assert [*talk.people] == [ME]


def test_media_that_breaks_is_told_and_may_be_offered_anew() -> None:
    talk = Talk().join()
    talk.publish()
    talk.tell(MediaLost(1, "ICE failed"))
    assert ("mediaLost", {"reason": "ICE failed"}) in talk.notifications
    assert not talk.people[ME]["live"]
    assert talk.of(Note)[-1].status is HostStatus.JOINED
    assert len(talk.of(Enter)) == 1
    talk.publish()
    assert talk.people[ME]["live"]


def test_an_offer_that_waits_when_media_breaks_is_answered() -> None:
    talk = Talk().join()
    request = talk.ask("publish", sdp=OFFER)
    talk.tell(MediaLost(1, "DTLS alert"))
    assert talk.error(request) == (-32012, "DTLS alert")


def test_a_flood_of_offers_is_refused() -> None:
    talk = Talk().join()
    requests = [talk.ask("publish", sdp=OFFER) for _ in range(20)]
    assert len(talk.of(Offer)) == 10
    assert all(talk.error(request)[0] == -32602 for request in requests[10:])
    assert requests[9] not in talk.answers, "the last one taken still waits"
    talk.wait(1.0)
    talk.ask("publish", sdp=OFFER)
    assert len(talk.of(Offer)) == 11


# --- candidates ---------------------------------------------------------------------------


def test_candidates_go_both_ways() -> None:
    talk = Talk().join()
    talk.ask("publish", sdp=OFFER)
    given = {"candidate": CANDIDATE, "sdpMid": "0", "janus": "destroy"}
    assert talk.result(talk.ask("trickle", candidate=given)) == {}
    assert talk.result(talk.ask("trickle", candidate=None)) == {}
    rebuilt = {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0}
    assert talk.of(Trickle) == [Trickle(1, rebuilt), Trickle(1, None)]
    talk.tell(RemoteCandidate(1, {"candidate": "x"}), RemoteCandidate(1, None))
    assert talk.notifications == [
        ("trickle", {"candidate": {"candidate": "x"}}),
        ("trickle", {"candidate": None}),
    ]
    talk.ask("publish", sdp=OFFER)
    assert not talk.tell(RemoteCandidate(1, None)), "stale"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "candidate is missing"),
        ({"candidate": "x"}, "object"),
        ({"candidate": {"candidate": "candidate:x"}}, "malformed"),
    ],
)
def test_a_bad_candidate_is_refused(params: dict[str, Any], words: str) -> None:
    talk = Talk().join()
    talk.ask("publish", sdp=OFFER)
    code, said = talk.error(talk.ask("trickle", **params))
    assert (code, words in said) == (-32602, True)
    assert not talk.of(Trickle)


def test_a_candidate_without_an_offer_is_refused() -> None:
    talk = Talk().join()
    code, words = talk.error(talk.ask("trickle", candidate=None))
    assert (code, "publish first" in words) == (-32602, True)


def test_a_candidate_that_leads_nowhere_is_dropped_and_so_is_the_end_of_such() -> None:
    talk = Talk().join()
    talk.ask("publish", sdp=OFFER)
    hidden = CANDIDATE.replace("192.0.2.7", "4f2a.local")
    assert talk.result(talk.ask("trickle", candidate={"candidate": hidden})) == {}
    assert talk.result(talk.ask("trickle", candidate=None)) == {}
    assert not talk.of(Trickle)


def test_candidates_are_bounded_for_each_offer_those_within_it_counted() -> None:
    talk = Talk().join()
    talk.ask("publish", sdp=OFFER + f"a={CANDIDATE}\r\n" * (MAX_CANDIDATES - 1))
    assert talk.result(talk.ask("trickle", candidate={"candidate": CANDIDATE})) == {}
    code, words = talk.error(talk.ask("trickle", candidate={"candidate": CANDIDATE}))
    assert (code, "more than 50" in words) == (-32602, True)
    talk.ask("publish", sdp=OFFER)
    assert talk.result(talk.ask("trickle", candidate={"candidate": CANDIDATE})) == {}


# --- muting -------------------------------------------------------------------------------


def test_muting_is_done_once_and_shown() -> None:
    talk = Talk().join()
    for _ in range(2):
        assert talk.result(talk.ask("mute")) == {}
    assert talk.of(SetMuted) == [SetMuted(muted=True)]
    assert talk.people[ME]["muted"]
    assert talk.of(Note)[-1] == Note(HostStatus.JOINED, "Ann", muted=True)
    talk.ask("unmute")
    assert talk.of(SetMuted)[-1] == SetMuted(muted=False)
    assert not talk.people[ME]["muted"]


def test_janus_is_told_before_the_client_hears_that_he_is_muted() -> None:
    talk = Talk().join()
    effects = talk.say({"id": "m", "method": "mute"})
    assert isinstance(effects[0], SetMuted)


def test_a_moderator_mutes_and_gives_the_voice_back() -> None:
    talk = Talk().join()
    assert SetMuted(muted=True) in talk.tell(Ordered(muted=True, by="mod"))
    assert talk.of(Note)[-1].muted
    assert ("mutedBy", {"by": "mod"}) in talk.notifications
    assert not talk.tell(Ordered(muted=True, by="mod")), "repeated, it changes nothing"
    assert SetMuted(muted=False) in talk.tell(Ordered(muted=False, by="mod"))
    assert ("unmutedBy", {"by": "mod"}) in talk.notifications
    assert not talk.tell(Ordered(muted=False, by="mod"))


@pytest.mark.parametrize("order", ["self", "self, moderator", "moderator, self"])
def test_a_host_who_muted_himself_is_only_asked(order: str) -> None:
    """Even if a moderator muted him as well, before or after."""
    talk = Talk().join()
    for who in order.split(", "):
        if who == "self":
            talk.ask("mute")
        else:
            talk.tell(Ordered(muted=True, by="mod"))
    talk.notifications.clear()
    talk.tell(Ordered(muted=False, by="mod"))
    assert talk.notifications == [("unmuteRequested", {"by": "mod"})]
    assert talk.people[ME]["muted"]


def test_what_is_muted_on_the_way_in_is_muted_when_we_are_in() -> None:
    talk = Talk().join()
    talk.tell(PlaceLost(1, "gone"))
    talk.wait(2)
    enter = talk.of(Enter)[-1]
    talk.ask("mute")
    assert not talk.of(SetMuted)
    assert talk.tell(Entered(enter.attempt, OWN, ()))[0] == SetMuted(muted=True)


# --- the others ---------------------------------------------------------------------------


def test_who_comes_changes_and_goes_is_told() -> None:
    talk = Talk().join()
    ben = {"userId": "ben", "display": "Ben", "muted": False, "talking": False, "live": False}
    talk.tell(PeersSeen(1, (BEN,)), PeersSeen(1, (BEN,)))
    talk.tell(PeersSeen(1, (Peer(7, "ben", "Ben", live=True),)), Talking(1, 7, talking=True))
    talk.tell(PeerLeft(1, 7), PeerLeft(1, 7), Talking(1, 7, talking=False))
    assert talk.notifications == [
        ("participantJoined", {"participant": ben}),
        ("participantUpdated", {"participant": ben | {"live": True}}),
        ("participantUpdated", {"participant": ben | {"live": True, "talking": True}}),
        ("participantLeft", {"userId": "ben"}),
    ]


def test_a_user_who_is_there_twice_is_shown_once() -> None:
    """He connected anew, and his former participant has not gone yet."""
    live = Peer(7, "ben", "Ben", live=True)
    talk = Talk().join(live)
    talk.tell(PeersSeen(1, (Peer(8, "ben", "Ben"),)))
    assert talk.news() == []
    talk.tell(PeersSeen(1, (Peer(8, "ben", "Ben", live=True, muted=True),)))
    assert talk.people["ben"]["muted"]
    talk.tell(PeerLeft(1, 7))
    assert talk.news() == ["participantUpdated"]
    assert talk.people["ben"]["muted"]


def test_who_is_muted_or_has_no_media_does_not_talk() -> None:
    talk = Talk().join(BEN)
    talk.publish()
    talk.tell(Talking(1, OWN, talking=True), Talking(1, 7, talking=True))
    assert talk.people[ME]["talking"]
    talk.ask("mute")
    assert not talk.people[ME]["talking"]
    talk.tell(PeersSeen(1, (Peer(7, "ben", muted=True, talking=True),)))
    assert not talk.people["ben"]["talking"]


def test_our_own_ghost_is_not_shown() -> None:
    talk = Talk().join(Peer(4, ME, live=True))
    assert [*talk.people] == [ME]
    assert not talk.people[ME]["live"]

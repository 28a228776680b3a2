"""A host's session while Janus dies, comes back, or the room goes elsewhere."""

import random

import pytest

from pkg.model import HostStatus
from tests.support.hosttalk import CANDIDATE, ME, OFFER, OWN, Talk, on, place
from wsgateway.entry import BASE_SECONDS, CAP_SECONDS, STEADY_SECONDS, Entry
from wsgateway.exchange import (
    Air,
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Event,
    MediaUp,
    Note,
    Offer,
    Peer,
    PeersSeen,
    PlaceLost,
    Refusal,
    RoomSeen,
    SetMuted,
    Talking,
)

BEN = Peer(7, "ben")
COMING = RoomSeen(Air.COMING)


def _attempt(talk: Talk) -> int:
    return talk.of(Enter)[-1].attempt


def test_a_room_that_moves_is_entered_anew_and_the_client_told() -> None:
    talk = Talk().join(BEN)
    talk.publish()
    talk.ask("mute")
    talk.tell(on(2))
    talk.wait(CAP_SECONDS)
    assert talk.of(Enter)[-1] == Enter(2, place(2), ME, "Ann", muted=True)
    talk.news()
    talk.tell(Entered(2, 5, (Peer(8, "cleo"),)))
    assert [*talk.people] == [ME, "cleo"]
    assert talk.people[ME]["muted"]
    assert not talk.people[ME]["live"]
    assert talk.news() == ["roomMoved"]
    assert talk.of(SetMuted) == [SetMuted(muted=True)], "Enter told it to the new place"
    talk.publish()
    assert talk.of(Offer)[-1].offer == 2
    assert talk.people[ME]["live"]


def test_hosts_of_a_moved_room_do_not_come_all_at_once() -> None:
    waits = set()
    for seed in range(20):
        entry = Entry(random.Random(seed))
        entry.begin(place(1))
        entry.arrive(0.0)
        entry.move(100.0)
        assert entry.retry_at is not None
        waits.add(entry.retry_at - 100.0)
    assert len(waits) == 20
    assert all(0 < wait <= BASE_SECONDS + 1e-9 for wait in waits)


def test_an_offer_in_flight_when_the_place_is_lost_is_answered() -> None:
    talk = Talk().join()
    request = talk.ask("publish", sdp=OFFER)
    talk.tell(PlaceLost(1, "socket closed"))
    code, words = talk.error(request)
    assert (code, "roomMoved" in words) == (-32012, True)
    assert talk.of(Note)[-1].status is HostStatus.CONNECTED


@pytest.mark.parametrize(
    ("method", "params"),
    [("publish", {"sdp": OFFER}), ("trickle", {"candidate": {"candidate": CANDIDATE}})],
)
def test_between_two_places_offers_and_candidates_are_refused(
    method: str, params: dict[str, object]
) -> None:
    talk = Talk().join()
    talk.publish()
    talk.tell(PlaceLost(1, "socket closed"))
    assert talk.error(talk.ask(method, **params))[0] == -32012
    assert len(talk.of(Offer)) == 1


def test_a_lost_place_is_entered_again_though_etcd_shows_nothing_new() -> None:
    """Janus was restarted, or only the socket broke."""
    talk = Talk().join()
    talk.tell(PlaceLost(1, "socket closed"))
    assert talk.news() == []
    talk.wait(BASE_SECONDS)
    for _ in range(20):
        talk.tell(EntryFailed(_attempt(talk), Refusal.NO_ROOM, "no such room"))
        talk.wait(CAP_SECONDS)
    assert len(talk.of(Enter)) == 22
    talk.tell(Entered(_attempt(talk), OWN, ()))
    assert talk.news() == ["roomMoved"]
    assert talk.closed is None


def test_waits_grow_up_to_their_cap_and_a_new_place_ends_them() -> None:
    talk = Talk().join()
    talk.tell(PlaceLost(1, "socket closed"))
    times = []
    for _ in range(30):
        assert talk.wake is not None
        times.append(talk.wake - talk.now)
        talk.wait(CAP_SECONDS)
        talk.tell(EntryFailed(_attempt(talk), Refusal.UNAVAILABLE, "no"))
    assert times[0] <= BASE_SECONDS
    assert max(times) <= CAP_SECONDS
    assert sum(times[10:]) / 20 > CAP_SECONDS / 4
    talk.tell(on(2))
    assert talk.wake is not None
    assert talk.wake - talk.now <= BASE_SECONDS


def test_a_janus_that_takes_us_and_drops_us_is_not_asked_ever_faster() -> None:
    talk = Talk().join()
    for _ in range(20):
        talk.tell(PlaceLost(_attempt(talk), "kicked"))
        talk.wait(CAP_SECONDS)
        talk.tell(Entered(_attempt(talk), OWN, ()))
    talk.tell(PlaceLost(_attempt(talk), "kicked"))
    assert talk.wake is not None
    assert talk.wake - talk.now > BASE_SECONDS
    talk.wait(CAP_SECONDS)
    talk.tell(Entered(_attempt(talk), OWN, ()))
    talk.wait(STEADY_SECONDS)
    talk.tell(PlaceLost(_attempt(talk), "kicked"))
    assert talk.wake - talk.now <= BASE_SECONDS


def test_a_room_on_its_way_stays_where_it_was_until_the_new_place_is_known() -> None:
    """A Janus that is only drained goes on until then."""
    talk = Talk().join()
    talk.publish()
    assert not talk.tell(COMING)
    assert not talk.wait(60)
    assert not talk.tell(on(1)), "nothing new"
    talk.tell(COMING, PlaceLost(1, "destroyed"))
    assert not [e for e in talk.wait(60) if isinstance(e, Enter)]
    talk.tell(on(2))
    talk.wait(BASE_SECONDS)
    assert talk.of(Enter)[-1].place == place(2)


def test_a_join_between_two_places_waits_and_is_answered_after_room_moved() -> None:
    talk = Talk().join()
    talk.tell(PlaceLost(1, "socket closed"))
    request = talk.ask("join")
    talk.wait(BASE_SECONDS)
    assert request not in talk.answers
    talk.tell(Entered(_attempt(talk), OWN, (BEN,)))
    assert [p["userId"] for p in talk.result(request)["participants"]] == [ME, "ben"]
    assert talk.news()[-1] == "roomMoved"


def test_a_join_that_waits_in_vain_between_two_places_ends_nothing() -> None:
    talk = Talk().join()
    talk.tell(PlaceLost(1, "socket closed"))
    request = talk.ask("join")
    talk.wait(30)
    assert talk.error(request)[0] == -32012
    assert talk.is_entered, "the way in that was begun goes on"
    talk.tell(Entered(_attempt(talk), OWN, ()))
    assert talk.news()[-1] == "roomMoved"


def test_news_of_a_former_place_has_no_effect() -> None:
    talk = Talk().join(BEN)
    talk.publish()
    talk.tell(on(2))
    talk.wait(CAP_SECONDS)
    old: list[Event] = [
        *(PlaceLost(1, "gone"), PeersSeen(1, (Peer(9, "eve"),)), Talking(1, 7, talking=True)),
        *(MediaUp(1), Answered(1, "old", OWN), Entered(1, OWN, ())),
        EntryFailed(1, Refusal.UNAVAILABLE, "no"),
    ]
    assert not talk.tell(*old)
    talk.tell(Entered(2, OWN, ()))
    assert not talk.tell(*old)
    assert not talk.tell(Entered(2, OWN, (BEN,))), "twice"


def test_an_entry_that_a_newer_place_overtakes() -> None:
    talk = Talk()
    talk.tell(on(1))
    request = talk.ask("join")
    talk.tell(on(2))
    assert [enter.place for enter in talk.of(Enter)] == [place(1), place(2)]
    assert not talk.tell(Entered(1, OWN, ()))
    talk.tell(Entered(2, OWN, ()))
    assert talk.result(request)

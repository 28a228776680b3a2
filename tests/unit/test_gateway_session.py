"""A host's session: joining, leaving, and what ends it (wsgateway/session.py)."""

import json
from typing import Any

import pytest

from pkg.model import HostStatus
from tests.support.hosttalk import CANDIDATE, ICE, ME, OFFER, OWN, Talk, on, place
from wsgateway.exchange import (
    Air,
    Answered,
    Close,
    End,
    Ended,
    Enter,
    Entered,
    EntryFailed,
    Exit,
    Note,
    Ordered,
    Peer,
    PeersSeen,
    Received,
    Refusal,
    RoomSeen,
    Send,
    WakeAt,
    Woken,
)
from wsgateway.rules import CLOSE
from wsgateway.session import JOIN_SECONDS, LAG_SECONDS, PATIENCE_SECONDS

COMING, OFF, GONE = RoomSeen(Air.COMING), RoomSeen(Air.OFF), RoomSeen(Air.GONE)
YOU = {"userId": ME, "display": "Ann", "muted": False, "talking": False, "live": False, "you": True}
BEN = {"userId": "ben", "muted": False, "talking": False, "live": True}


# --- joining ------------------------------------------------------------------------------


def test_a_join_enters_the_room_and_is_answered_when_janus_let_us_in() -> None:
    talk = Talk()
    talk.tell(on(1))
    request = talk.ask("join", display=" Ann\u202e ")
    assert talk.of(Enter) == [Enter(1, place(1), ME, "Ann", muted=False)]
    assert not talk.answers
    talk.tell(Entered(1, OWN, (Peer(7, "ben", live=True),)))
    assert talk.result(request) == {
        "roomId": "blue",
        "userId": ME,
        "participants": [YOU, BEN],
        "iceServers": [*ICE],
    }
    assert talk.of(Note) == [Note(HostStatus.JOINED, "Ann", muted=False)]
    assert talk.news() == []


def test_a_second_join_is_answered_as_the_first_and_the_first_name_stands() -> None:
    talk = Talk().join(Peer(7, "ben", live=True))
    again = talk.ask("join", display="Bob")
    assert talk.result(again) == talk.result(1)
    assert len(talk.of(Enter)) == 1


def test_two_joins_before_janus_answers_are_both_answered() -> None:
    talk = Talk()
    talk.tell(on())
    first, second = talk.ask("join"), talk.ask("join")
    talk.tell(Entered(1, OWN, ()))
    assert talk.result(first) == talk.result(second)
    assert len(talk.of(Enter)) == 1


@pytest.mark.parametrize("air", [OFF, GONE])
def test_a_join_waits_for_our_copy_of_etcd_and_no_longer(air: RoomSeen) -> None:
    talk = Talk()
    talk.tell(air)
    request = talk.ask("join")
    talk.wait(LAG_SECONDS * 0.9)
    assert not talk.answers
    talk.wait(LAG_SECONDS * 0.2)
    assert talk.error(request) == (-32010, "the room is not on air: start it, and join again")
    assert talk.closed is None


def test_a_join_right_after_start_finds_the_room_that_our_copy_did_not_have_yet() -> None:
    talk = Talk()
    talk.tell(OFF)
    request = talk.ask("join")
    talk.wait(0.2)
    talk.tell(COMING)
    talk.wait(5)
    talk.tell(on())
    talk.tell(Entered(1, OWN, ()))
    assert [p["userId"] for p in talk.result(request)["participants"]] == [ME]


def test_a_join_waits_ten_seconds_for_a_room_that_comes() -> None:
    talk = Talk()
    talk.tell(COMING)
    request = talk.ask("join")
    talk.wait(PATIENCE_SECONDS * 0.99)
    assert not talk.answers
    talk.wait(PATIENCE_SECONDS * 0.02)
    assert talk.error(request) == (-32010, "the room is still starting: join again")
    assert talk.closed is None


def test_a_room_that_is_stopped_while_a_join_waits() -> None:
    talk = Talk()
    talk.tell(COMING)
    request = talk.ask("join")
    talk.wait(5)
    talk.tell(OFF)
    assert talk.error(request)[0] == -32010
    assert talk.closed is None


def test_a_room_that_is_stopped_while_janus_lets_us_in() -> None:
    talk = Talk()
    talk.tell(on())
    request = talk.ask("join")
    assert talk.tell(OFF)[0] == Exit()
    assert not talk.tell(Entered(1, OWN, ())), "stale"
    talk.wait(LAG_SECONDS)
    assert talk.error(request)[0] == -32010


def test_janus_is_asked_again_until_the_join_has_waited_long_enough() -> None:
    talk = Talk()
    talk.tell(on())
    request = talk.ask("join")
    attempts = 0
    while request not in talk.answers:
        attempts += 1
        talk.tell(EntryFailed(talk.of(Enter)[-1].attempt, Refusal.UNAVAILABLE, "no"))
        talk.wait(0.5)
    assert talk.error(request) == (-32012, "the room's Janus does not let us in: join again")
    assert 5 < attempts <= 20
    assert [e.attempt for e in talk.of(Enter)] == sorted({e.attempt for e in talk.of(Enter)})
    assert not [e for e in talk.wait(10) if isinstance(e, Enter)]


def test_a_silent_janus_is_given_up_with_the_join() -> None:
    talk = Talk()
    talk.tell(on())
    request = talk.ask("join")
    talk.wait(PATIENCE_SECONDS)
    assert talk.error(request)[0] == -32012
    assert talk.of(Exit) == [Exit()]
    assert not talk.tell(Entered(1, OWN, ())), "stale"
    again = talk.ask("join", display="Ann")
    talk.tell(Entered(talk.of(Enter)[-1].attempt, OWN, ()))
    assert talk.result(again)["participants"] == [YOU]


def test_whom_janus_refuses_hears_it_at_once() -> None:
    talk = Talk()
    talk.tell(on())
    request = talk.ask("join")
    talk.tell(EntryFailed(1, Refusal.REFUSED, "wrong pin 123"))
    code, words = talk.error(request)
    assert code == -32012
    assert "operator" in words
    assert "123" not in words


@pytest.mark.parametrize("display", ["x" * 65, 7, ["Ann"]])
def test_a_name_that_is_none_is_refused(display: Any) -> None:
    talk = Talk()
    talk.tell(on())
    assert talk.error(talk.ask("join", display=display))[0] == -32602
    assert not talk.of(Enter)


# --- before, and without --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("publish", {"sdp": OFFER}),
        ("trickle", {"candidate": {"candidate": CANDIDATE}}),
        ("mute", {}),
        ("unmute", {}),
    ],
)
def test_before_join_nothing_else_goes(method: str, params: dict[str, Any]) -> None:
    talk = Talk()
    talk.tell(on())
    assert talk.error(talk.ask(method, **params)) == (-32011, "join first")
    assert all(isinstance(effect, Send | WakeAt) for effect in talk.effects)


def test_ping_and_wrong_calls() -> None:
    talk = Talk()
    talk.tell(on())
    assert talk.result(talk.ask("ping")) == "pong"
    code, words = talk.error(talk.ask("kick", userId="ben"))
    assert (code, "'kick'" in words) == (-32601, True)
    code, words = talk.error(talk.ask("join", display="Ann", admin_key="x"))
    assert (code, "'admin_key'" in words) == (-32602, True)
    assert not talk.of(Enter)


def test_notifications_act_and_are_never_answered() -> None:
    talk = Talk()
    talk.tell(on())
    for message in ({"method": "join"}, {"method": "nope"}, {"method": "join", "params": [1]}):
        talk.say(message)
    assert len(talk.of(Enter)) == 1
    talk.tell(Entered(1, OWN, (Peer(7, "ben"),)))
    talk.say({"method": "mute"})
    assert not talk.answers
    assert [*talk.people] == [ME, "ben"]
    assert talk.people[ME]["muted"]


def test_a_host_who_does_not_join_is_disconnected() -> None:
    talk = Talk()
    talk.tell(on())
    talk.ask("ping")
    talk.wait(JOIN_SECONDS)
    assert talk.closed == Close(4408, CLOSE[End.NOT_JOINED].words)


def test_a_host_whose_join_waits_is_not_disconnected_meanwhile() -> None:
    talk = Talk()
    talk.tell(COMING)
    talk.wait(JOIN_SECONDS - 1)
    request = talk.ask("join")
    talk.wait(5)
    assert talk.closed is None
    talk.tell(on())
    talk.tell(Entered(1, OWN, ()))
    assert talk.result(request)
    talk.wait(10 * JOIN_SECONDS)
    assert talk.closed is None


# --- leaving, and being closed ---------------------------------------------------------------


@pytest.mark.parametrize("joined", [True, False])
def test_leave_is_answered_then_we_leave_then_the_socket_closes(joined: bool) -> None:
    talk = Talk().join() if joined else Talk()
    talk.tell(on())
    effects = talk.say({"id": "bye", "method": "leave"})
    assert talk.result("bye") == {}
    assert effects[1:] == [*([Exit()] if joined else []), Close(1000, "left")]
    assert not talk.tell(on(2), Woken(), Ended(End.KICKED), Received('{"id":1,"method":"ping"}'))


def test_who_leaves_while_his_join_waits_is_answered_twice_and_comes_in_no_more() -> None:
    talk = Talk()
    talk.tell(on())
    join = talk.ask("join")
    effects = talk.say({"id": "bye", "method": "leave"})
    assert talk.result("bye") == {}
    assert talk.error(join) == (-32013, CLOSE[End.LEFT].words)
    assert effects[-2:] == [Exit(), Close(1000, "left")]
    assert not talk.tell(Entered(1, OWN, ()))


def test_all_requests_that_wait_are_answered_before_a_close() -> None:
    talk = Talk().join()
    publish = talk.ask("publish", sdp=OFFER)
    talk.tell(Ended(End.KICKED))
    assert talk.error(publish) == (-32013, CLOSE[End.KICKED].words)
    assert talk.effects[-2:] == [Exit(), Close(4403, CLOSE[End.KICKED].words)]


def test_a_batch_with_leave_is_answered_whole() -> None:
    talk = Talk()
    talk.tell(on())
    batch = [{"id": n, "method": m} for n, m in enumerate(["join", "ping", "leave", "ping"])]
    talk.say([*batch, 7])
    assert talk.error(0)[0] == -32013
    assert (talk.result(1), talk.result(2)) == ("pong", {})
    assert talk.error(3)[0] == -32013
    assert talk.answers[None][0]["error"]["code"] == -32600
    assert len(talk.of(Send)) == 1
    assert talk.closed == Close(1000, "left")


def test_the_list_in_a_batch_is_that_of_the_moment_it_is_sent() -> None:
    talk = Talk().join()
    batch: list[dict[str, Any]] = [
        {"id": "p", "method": "publish", "params": {"sdp": OFFER}},
        {"id": "j", "method": "join"},
    ]
    talk.say(batch)
    talk.tell(PeersSeen(1, (Peer(7, "ben", live=True),)))
    assert "j" not in talk.answers
    talk.tell(Answered(1, "v=0 answer", OWN))
    assert talk.result("j")["participants"] == [YOU, BEN]
    assert [*talk.people.values()] == [YOU, BEN]


@pytest.mark.parametrize("why", [*End])
def test_an_end_from_outside_has_its_code(why: End) -> None:
    talk = Talk().join()
    talk.tell(Ended(why))
    assert talk.closed == Close(CLOSE[why].code, CLOSE[why].words)


@pytest.mark.parametrize(
    ("air", "reason"), [(OFF, "the room was stopped"), (GONE, "the room was deleted")]
)
def test_a_room_that_closes_says_so_and_closes_the_connection(air: RoomSeen, reason: str) -> None:
    talk = Talk().join()
    publish = talk.ask("publish", sdp=OFFER)
    effects = talk.tell(air)
    assert talk.error(publish)[0] == -32010
    assert talk.notifications[-1] == ("roomClosed", {"reason": reason})
    assert effects[-2:] == [Exit(), Close(4404, "the room is no longer on air")]


# --- too fast --------------------------------------------------------------------------------


def test_twenty_messages_a_second_are_fine_for_ever() -> None:
    talk = Talk().join()
    for _ in range(1_000):
        talk.ask("ping")
        talk.wait(0.05)
    assert talk.closed is None


@pytest.mark.parametrize("size", [1, 10])
def test_a_burst_above_a_hundred_closes_and_batches_count_their_elements(size: int) -> None:
    talk = Talk()
    talk.tell(on())
    calls = [{"id": n, "method": "ping"} for n in range(size)]
    for _ in range(100 // size):
        talk.say(calls)
    assert talk.closed is None
    talk.tell(Received(json.dumps(calls[:1])))
    assert talk.closed == Close(1008, CLOSE[End.TOO_FAST].words)


def test_no_frame_whatever_it_is_costs_nothing() -> None:
    talk = Talk()
    talk.tell(on())
    for _ in range(100):
        talk.tell(Received("\ud800"))
    assert talk.closed is None
    talk.tell(Received("[" + "7," * 500 + "7]"))
    assert talk.closed == Close(1008, CLOSE[End.TOO_FAST].words)


def test_a_moderators_word_before_join_is_kept_for_it() -> None:
    talk = Talk()
    talk.tell(on(), Ordered(muted=True, by="mod"))
    assert talk.of(Note) == [Note(HostStatus.CONNECTED, None, muted=True)]
    assert talk.news() == []
    talk.join()
    assert talk.of(Enter)[-1].muted
    assert talk.people[ME]["muted"]

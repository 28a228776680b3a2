"""What reaches Janus is built value by value, and nothing that Janus says breaks the reader."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.janus.wire import Failure, MalformedReplyError
from pkg.model import Epoch
from wsgateway import messages
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
from wsgateway.messages import Handle

HANDLE = Handle(11, 22)
PLACE = Place("ws://janus", 123456, Epoch(7), "the pin", "the secret")

words = st.text(max_size=5)
plain = st.none() | st.booleans() | st.integers() | words
json_values = plain | st.lists(plain, max_size=2) | st.dictionaries(words, plain, max_size=2)
names = st.sampled_from(
    ("janus", "sender", "plugindata", "jsep", "candidate", "data", "id", "reason", "type", "sdp")
)
said = st.dictionaries(names, json_values)
rooms_words = st.dictionaries(
    st.sampled_from(
        ("audiobridge", "participants", "leaving", "kicked", "id", "talking", "display")
    ),
    json_values
    | st.sampled_from(("joined", "event", "destroyed", "talking"))
    | st.lists(st.dictionaries(st.sampled_from(("id", "display", "setup")), plain), max_size=2),
)


def of_the_room(**data: Any) -> dict[str, Any]:
    return {"janus": "event", "sender": 22, "plugindata": {"data": {"room": 123456} | data}}


@settings(deadline=None)
@given(st.none() | st.text())
def test_a_display_is_read_as_it_was_written(name: str | None) -> None:
    text = messages.display("ann@example.org", name, 5)
    assert json.loads(text)["u"] == "ann@example.org"
    message = of_the_room(audiobridge="joined", participants=[{"id": 7, "display": text}])
    shown = None if name is None else name[:64]
    assert messages.event(message, 1, 2) == PeersSeen(
        1, (Peer(7, "ann@example.org", shown, fence=5),)
    )


@pytest.mark.parametrize(
    "text", ["", "tone", "{}", '{"u":1}', '{"u":"../x"}', "[1]", "9" * 5000, None, 7]
)
def test_a_stranger_is_no_user_of_ours(text: object) -> None:
    message = of_the_room(audiobridge="joined", participants=[{"id": 7, "display": text}])
    event = messages.event(message, 1, 2)
    assert isinstance(event, PeersSeen)
    [peer] = event.peers
    assert peer.user_id == "janus-7"
    assert peer.display is None or len(peer.display) <= 64


def test_a_join_carries_the_pin_and_a_kick_the_secret() -> None:
    join = messages.join(HANDLE, PLACE, messages.display("ann", None, 5), muted=True)
    assert join["body"] == {
        "request": "join",
        "room": 123456,
        "pin": "the pin",
        "display": '{"u":"ann","f":5}',
        "muted": True,
    }
    assert messages.kick(HANDLE, PLACE, 7)["body"] == {
        "request": "kick",
        "room": 123456,
        "secret": "the secret",
        "id": 7,
    }
    assert "the pin" not in repr(PLACE)


def test_nothing_of_a_candidate_gets_through_but_what_is_known() -> None:
    candidate = {"candidate": "candidate:1", "janus": "destroy", "completed": True}
    message = messages.trickle(HANDLE, candidate)
    assert message == {
        "janus": "trickle",
        "session_id": 11,
        "handle_id": 22,
        "candidate": {"candidate": "candidate:1"},
    }
    assert messages.trickle(HANDLE, None)["candidate"] == {"completed": True}


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (of_the_room(audiobridge="event", leaving=7), PeerLeft(1, 7)),
        (of_the_room(audiobridge="event", kicked=7), PeerLeft(1, 7)),
        (of_the_room(audiobridge="talking", id=7), Talking(1, 7, talking=True)),
        (of_the_room(audiobridge="stopped-talking", id=7), Talking(1, 7, talking=False)),
        (
            of_the_room(
                audiobridge="event", participants=[{"id": 7, "muted": True, "setup": True}]
            ),
            PeersSeen(1, (Peer(7, "janus-7", None, muted=True, live=True),)),
        ),
        (of_the_room(audiobridge="event", result="ok"), None),
        ({"janus": "webrtcup", "sender": 22}, MediaUp(2)),
        ({"janus": "hangup", "sender": 22, "reason": "ICE failed"}, MediaLost(2, "ICE failed")),
        ({"janus": "trickle", "candidate": {"completed": True}}, RemoteCandidate(2, None)),
        (
            {"janus": "trickle", "candidate": {"candidate": "c"}},
            RemoteCandidate(2, {"candidate": "c"}),
        ),
        ({"janus": "media", "receiving": False}, None),
        ({"janus": "slowlink", "uplink": True}, None),
    ],
)
def test_what_janus_says_unasked(message: dict[str, Any], event: Event | None) -> None:
    assert messages.event(message, 1, 2) == event


@pytest.mark.parametrize(
    "message",
    [{"janus": "timeout"}, {"janus": "detached"}, of_the_room(audiobridge="destroyed")],
)
def test_the_end_of_a_place_has_words(message: dict[str, Any]) -> None:
    event = messages.event(message, 1, 2)
    assert isinstance(event, PlaceLost)
    assert event.words


@settings(max_examples=50, deadline=None)
@given(said, rooms_words)
def test_nothing_that_is_said_unasked_breaks_the_reader(
    message: dict[str, Any], data: dict[str, Any]
) -> None:
    messages.event(message, 1, 2)
    messages.concerns(message, HANDLE)
    event = messages.event(of_the_room(**data), 1, 2)
    if isinstance(event, PeersSeen):
        assert all(type(peer.participant_id) is int for peer in event.peers)


@settings(max_examples=50, deadline=None)
@given(said)
def test_an_answer_is_read_or_malformed(message: dict[str, Any]) -> None:
    for read in (messages.read_id, messages.read_joined, messages.read_answer):
        with pytest.raises(MalformedReplyError):
            read(message | {"jsep": message.get("jsep"), "data": [message]})


def test_answers_are_read() -> None:
    assert messages.read_id({"data": {"id": 7}}) == 7
    joined = of_the_room(audiobridge="joined", id=9, participants=[{"id": 7}])
    assert messages.read_joined(joined) == messages.Joined(9, (Peer(7, "janus-7"),))
    assert messages.read_answer({"jsep": {"type": "answer", "sdp": "v=0"}}) == "v=0"


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (Failure(485, "No such room (1)", core=False), Refusal.NO_ROOM),
        (Failure(489, "Unauthorized (wrong pin)", core=False), Refusal.REFUSED),
        (Failure(483, "Missing mandatory element (pin)", core=False), Refusal.REFUSED),
        (Failure(403, "Unauthorized request", core=True), Refusal.REFUSED),
        (Failure(460, "No such plugin", core=True), Refusal.REFUSED),
        (Failure(458, "No such session", core=True), Refusal.UNAVAILABLE),
        (Failure(499, "Out of memory", core=False), Refusal.UNAVAILABLE),
    ],
)
def test_each_failure_has_a_meaning(failure: Failure, why: Refusal) -> None:
    assert messages.refusal(failure) == (why, messages.words(failure))

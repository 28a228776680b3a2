"""Janus messages: what is sent exactly, and that no reply can break the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janusmanager import messages
from janusmanager.api import (
    JanusRefusedError,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    RoomNumberTakenError,
)
from janusmanager.messages import Failure
from pkg import keys
from pkg.errors import OnairError
from pkg.janus import wire
from pkg.janus.wire import MalformedReplyError
from pkg.model import Epoch, ModuleId, RoomId

PACKET_SECONDS = 0.02
BLUE = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))

room_ids = st.from_regex(keys.ROOM_ID_PATTERN, fullmatch=True).map(RoomId)
module_ids = st.from_regex(keys.MODULE_ID_PATTERN, fullmatch=True).map(ModuleId)
epochs = st.integers(0, 2**63 - 1).map(Epoch)
markers = st.builds(Marker, module_ids, room_ids, epochs)


@given(markers)
def test_a_marker_survives_its_text(marker: Marker) -> None:
    assert Marker.parse(str(marker)) == marker


@given(st.text() | st.none() | st.integers())
def test_any_other_description_is_no_marker(description: object) -> None:
    marker = Marker.parse(description)
    assert marker is None or str(marker) == description


@pytest.mark.parametrize(
    "text",
    ["onair/j1/blue/\u0667", "onair/j1/blue/-1", "onair/j1/blue/7\n", "onair/j1//7", "Onair/j/b/7"],
)
def test_near_markers_are_refused(text: str) -> None:
    assert Marker.parse(text) is None


@given(markers, st.integers(0, 50))
def test_numbers_have_six_digits_and_repeat(marker: Marker, attempt: int) -> None:
    number = messages.room_number(marker, attempt)
    assert 100_000 <= number <= 999_999
    assert number == messages.room_number(marker, attempt)


@given(room_ids, epochs)
def test_an_ssrc_is_ours_fits_32_bits_and_is_never_zero(room: RoomId, epoch: Epoch) -> None:
    ssrc = messages.forwarder_ssrc(room, epoch)
    assert 0 < ssrc < 1 << 32
    assert messages.is_our_ssrc(room, ssrc)
    assert ssrc != messages.forwarder_ssrc(room, Epoch(epoch + 1))


def test_a_created_room_is_private_locked_and_leaves_no_file() -> None:
    body = messages.creation("key", BLUE, 123456, "pin", "secret")
    assert body["is_private"] is True
    assert body["permanent"] is False
    assert body["record"] is False
    assert body["sampling_rate"] == 48_000
    assert (body["pin"], body["secret"], body["admin_key"]) == ("pin", "secret", "key")


def test_it_is_told_within_half_a_second_who_talks() -> None:
    """Of two judgements the second sees all of the talking."""
    body = messages.creation("key", BLUE, 123456, "pin", "secret")
    assert (body["audiolevel_ext"], body["audiolevel_event"]) == (True, True)
    assert 2 * body["audio_active_packets"] * PACKET_SECONDS <= 0.5


def test_a_forward_never_starves() -> None:
    body = messages.forwarding("key", 123456, "secret", "::1", 5004, 9)
    assert (body["always_on"], body["ptype"], body["host"]) == (True, 111, "::1")


words = st.text(max_size=5)
plain = st.none() | st.booleans() | st.integers() | words
json_values = plain | st.lists(plain, max_size=2) | st.dictionaries(words, plain, max_size=2)
shapes = st.fixed_dictionaries(
    {"transaction": json_values},
    optional=dict.fromkeys(
        ("janus", "response", "error", "error_code", "list", "plugins"), json_values
    ),
)


@given(shapes)
def test_no_shape_breaks_the_reader(shape: dict[str, object]) -> None:
    try:
        reply = wire.reply_of(shape)
        messages.read_rooms(reply.body, ModuleId("j1"))
    except MalformedReplyError:
        return


def test_a_list_that_is_missing_is_not_an_empty_list() -> None:
    with pytest.raises(MalformedReplyError):
        messages.read_rooms({"audiobridge": "success"}, ModuleId("j1"))


def test_strangers_rooms_are_left_out() -> None:
    listed = [
        {"room": 2, "description": "onair/j1/blue/7", "num_participants": 3},
        {"room": 1, "description": "Demo Room"},
        {"room": 3, "description": "onair/j2/blue/7"},
    ]
    [room] = messages.read_rooms({"list": listed}, ModuleId("j1"))
    assert (room.number, room.marker, room.participants) == (2, BLUE, 3)


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (Failure(485, "No such room (5", core=False), NoSuchRoomError, "room 5 does not exist"),
        (Failure(486, "Room 5 exists", core=False), RoomNumberTakenError, "room 5"),
        (
            Failure(489, "Unauthorized (wrong admin_key)", core=False),
            JanusRefusedError,
            "ADMIN_KEY",
        ),
        (
            Failure(483, "Missing mandatory element (admin_key)", core=False),
            JanusRefusedError,
            "KEY",
        ),
        (
            Failure(489, "Unauthorized (wrong secret)", core=False),
            JanusRefusedError,
            "MASTER_SECRET",
        ),
        (Failure(484, "Invalid port", core=False), JanusRefusedError, "Invalid port"),
        (Failure(403, "Unauthorized request", core=True), JanusRefusedError, "ADMIN_SECRET_FILE"),
        (Failure(460, "No such plugin", core=True), JanusRefusedError, "not loaded"),
        (Failure(453, "Unknown request", core=True), JanusRefusedError, "Janus 1.1"),
        (Failure(488, "Opus encoder", core=False), JanusUnavailableError, "Opus encoder"),
        (Failure(490, "Unknown", core=True), JanusUnavailableError, "Unknown"),
    ],
)
def test_every_failure_says_what_it_means(
    failure: Failure, error: type[OnairError], words: str
) -> None:
    with pytest.raises(error, match=words):
        raise messages.to_error(failure, 5)

"""Health from facts alone, and the playlist and log it is read from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixer.health import (
    EAGER_SECONDS,
    JAMMED_SECONDS,
    Look,
    Pulse,
    gave_up,
    judge,
    next_look_seconds,
    pulse,
)
from mixer.playlist import Segment, last_words, newest, segments
from pkg.model import MixerStatus

SEGMENT = Segment(9, "s_1_9.ts", 2.0)
ALIVE = Look(alive=True, newest=SEGMENT)


@pytest.mark.parametrize(
    ("look", "beat", "now", "status", "reason"),
    [
        (Look(alive=True), Pulse(None, 0), 4.9, MixerStatus.STARTING, None),
        (Look(alive=True), Pulse(None, 0), 5.1, MixerStatus.STARVED, "no RTP for 5 s"),
        (ALIVE, Pulse(9, 0), 5.0, MixerStatus.PUBLISHING, None),
        (ALIVE, Pulse(9, 0), 5.1, MixerStatus.STARVED, "no RTP for 5 s"),
        (
            replace(ALIVE, deaf=True),
            Pulse(9, 0),
            5.1,
            MixerStatus.FAILING,
            "FFmpeg is stuck: it reads no RTP",
        ),
        (ALIVE, Pulse(9, 0), 6000.0, MixerStatus.FAILING, "FFmpeg is stuck: no segment for 70 s"),
        (Look(alive=False), Pulse(9, 0), 0, MixerStatus.FAILING, "FFmpeg ended without a word"),
        (
            Look(alive=False, last_words="Connection timed out"),
            Pulse(9, 0),
            0,
            MixerStatus.FAILING,
            "FFmpeg ended: Connection timed out",
        ),
        (
            Look(alive=True, paused=True, newest=SEGMENT),
            Pulse(9, 0),
            0,
            MixerStatus.FAILING,
            "FFmpeg is stopped by a signal",
        ),
        (
            Look(alive=True, hollow=True, newest=SEGMENT),
            Pulse(9, 0),
            0,
            MixerStatus.FAILING,
            "FFmpeg writes empty files: is the disk full?",
        ),
    ],
)
def test_a_status_follows_from_the_facts(
    look: Look, beat: Pulse, now: float, status: MixerStatus, reason: str | None
) -> None:
    health = judge(look, beat, now, 2.0)
    assert (health.status, health.reason) == (status, reason)


def test_the_reason_never_changes_while_nothing_changes() -> None:
    told = {judge(ALIVE, Pulse(9, 0), 7 + n / 10, 2.0).reason for n in range(600)}
    assert told == {"no RTP for 5 s"}


def test_the_successor_of_a_starved_one_is_starved_until_it_publishes() -> None:
    """Else its status would change with each that gives up, and each change is a write."""
    waiting = judge(Look(alive=True), Pulse(None, 0), 1.0, 2.0, unfed=True)
    assert waiting == judge(Look(alive=True), Pulse(None, 0), 6.0, 2.0)
    assert judge(ALIVE, Pulse(9, 0), 1.0, 2.0, unfed=True).status is MixerStatus.PUBLISHING


@pytest.mark.parametrize("began", [n / 10 for n in range(20)])
def test_silence_is_seen_within_three_segments_wherever_it_begins(began: float) -> None:
    """Segments come at even seconds, the last at 0; the sound ends at ``began``."""
    for phase in (0.0, 0.3, 0.999):
        now, beat = phase, pulse(Pulse(8, 0.0), ALIVE, phase)  # the first look that sees it
        while (health := judge(ALIVE, beat, now, 2.0)).status is MixerStatus.PUBLISHING:
            now += next_look_seconds(health, beat, now, 2.0)
        assert now - began <= 3 * 2.0 + 0.2


def test_giving_up_is_told_from_failing() -> None:
    assert gave_up(Look(alive=False, last_words="Connection timed out"))
    assert not gave_up(Look(alive=False, last_words="Cannot allocate memory"))
    assert not gave_up(Look(alive=True, last_words="Connection timed out"))


def test_an_adopted_one_is_publishing_at_the_first_look() -> None:
    assert judge(ALIVE, pulse(None, ALIVE, 100.0), 100.0, 2.0).status is MixerStatus.PUBLISHING


def test_a_lost_playlist_is_no_new_pulse() -> None:
    assert pulse(Pulse(9, 1.0), Look(alive=True), 50.0) == Pulse(9, 1.0)


def test_looks_are_eager_only_until_the_first_segment() -> None:
    starting = judge(Look(alive=True), Pulse(None, 0), 1.0, 2.0)
    assert next_look_seconds(starting, Pulse(None, 0), 1.0, 2.0) == EAGER_SECONDS
    assert next_look_seconds(starting, Pulse(None, 0), 30.0, 2.0) == 1.0
    publishing = judge(ALIVE, Pulse(9, 0), 1.0, 2.0)
    assert next_look_seconds(publishing, Pulse(9, 0), 1.0, 2.0) == 1.0
    assert next_look_seconds(publishing, Pulse(9, 0), 4.5, 2.0) == pytest.approx(0.5)


def test_jammed_is_longer_than_ffmpeg_itself_ever_waits() -> None:
    assert JAMMED_SECONDS > 60.5  # measured: it gives up 60 s after a start without RTP


def test_the_bogus_segment_of_a_room_without_sound_does_not_count() -> None:
    assert newest("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:0.000000,\ns_1_7.ts\n") is None


@given(st.text())
def test_no_playlist_is_an_error(text: str) -> None:
    assert all(segment.seconds > 0 for segment in segments(text))


@given(st.text())
def test_no_log_is_an_error_and_no_path_gets_out(text: str) -> None:
    assert last_words(text).isprintable()
    assert "/run" not in last_words(text + "\n/run/onair/secret.7/room.sdp: failed\n")

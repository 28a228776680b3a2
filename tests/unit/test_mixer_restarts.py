"""When FFmpeg may be started again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from mixer.restarts import CAP_SECONDS, STEADY_SECONDS, Restarts


def restarts(seed: int = 0) -> Restarts[str]:
    return Restarts(random.Random(seed))


def test_what_never_failed_does_not_wait() -> None:
    assert restarts().wait("blue", 5.0) == 0.0
    assert restarts().last("blue") is None


def test_a_process_that_published_for_a_while_starts_without_waiting() -> None:
    found = restarts()
    for _ in range(5):
        found.note("blue", "FFmpeg ended", lived=0.1, now=10.0)
    found.note("blue", "FFmpeg ended", lived=STEADY_SECONDS, now=10.0)
    assert found.wait("blue", 10.0) == 0.0
    assert found.failures("blue") == 1, "it counts anew"
    found.note("blue", "FFmpeg ended", lived=0.1, now=10.0)
    assert found.failures("blue") == 2
    assert found.wait("blue", 10.0) > 0


def test_waiting_for_sound_in_vain_is_no_failure() -> None:
    found = restarts()
    for _ in range(5):
        found.note("blue", "FFmpeg ended", lived=0.1, now=10.0)
    found.note_unfed("blue", "no RTP", now=70.0)
    assert (found.failures("blue"), found.wait("blue", 70.0)) == (0, 0.0)
    setback = found.last("blue")
    assert setback is not None
    assert setback.unfed
    found.note("blue", "FFmpeg ended", lived=0.1, now=71.0)
    setback = found.last("blue")
    assert setback is not None
    assert not setback.unfed


def test_what_another_daemon_counted_is_counted_on_and_never_set_back() -> None:
    found = restarts()
    found.recall("blue", 3, "FFmpeg ended", now=10.0)
    assert (found.failures("blue"), found.wait("blue", 10.0)) == (3, 0.0)
    found.note("blue", "FFmpeg ended", lived=0.1, now=10.0)
    found.recall("blue", 3, "FFmpeg ended", now=10.0)
    assert found.failures("blue") == 4
    assert found.wait("blue", 10.0) > 0


def test_rooms_do_not_wait_for_each_other_and_are_forgotten() -> None:
    found = restarts()
    found.note("blue", "FFmpeg ended", lived=0.0, now=10.0)
    assert found.wait("blue", 10.0) > 0
    assert found.wait("red", 10.0) == 0.0
    found.forget("blue")
    found.forget("never seen")
    assert found.wait("blue", 10.0) == 0.0


@given(st.integers(1, 12), st.integers(0, 999))
def test_the_wait_grows_to_a_cap_and_is_never_nothing(failures: int, seed: int) -> None:
    found = restarts(seed)
    for _ in range(failures):
        found.note("blue", "FFmpeg ended", lived=0.0, now=100.0)
    wait, ceiling = found.wait("blue", 100.0), min(CAP_SECONDS, 0.25 * 2 ** (failures - 1))
    assert ceiling / 10 <= wait <= ceiling
    assert found.wait("blue", 100.0 + wait + 0.001) == 0.0

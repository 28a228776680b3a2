"""Port pairs: one FFmpeg each (I6), and never where another room's sound may still arrive."""

import socket

import anyio
import pytest

from mixer.api import NoPortError
from mixer.driver import is_bindable, noisy_ports
from mixer.ports import QUARANTINE_SECONDS, REST_SECONDS, Ports
from tests.support.ffmpeg import HERE, free_port
from tests.support.rtp import tone


def anything(_port: int) -> bool:
    return True


def test_a_reserved_pair_is_nobody_elses_until_it_is_running() -> None:
    ports = Ports(30000, 2, anything)
    with ports.reserved((), 0.0) as first, ports.reserved((), 0.0) as second:
        assert {first, second} == {30000, 30002}
        with (
            pytest.raises(NoPortError, match=r"^none of 2 RTP port pairs is free$"),
            ports.reserved((), 0.0),
        ):
            pass
    with ports.reserved({30000}, 0.0) as third:
        assert third == 30002


def test_a_reservation_ends_with_a_failed_spawn() -> None:
    ports = Ports(30000, 1, anything)
    with pytest.raises(OSError, match="no memory"), ports.reserved((), 0.0):
        raise OSError("no memory")
    with ports.reserved((), 0.0) as again:
        assert again == 30000


def test_a_strangers_pair_is_left_alone_for_a_minute() -> None:
    taken = {30000}
    ports = Ports(30000, 2, lambda port: port not in taken)
    with ports.reserved((), 0.0) as port:
        assert port == 30002
    taken.clear()
    assert ports.free((), QUARANTINE_SECONDS - 1) == [30002]
    assert ports.free((), QUARANTINE_SECONDS) == [30002, 30000]


def test_a_pair_just_freed_rests_and_then_comes_last() -> None:
    ports = Ports(30000, 3, anything)
    ports.quarantine([30000], 5.0)
    ports.quarantine([30002], 1.0)
    assert ports.free((), 10.0) == [30004]
    assert ports.free((), 70.0) == [30004, 30002, 30000]


@pytest.mark.parametrize(("base", "pairs"), [(30001, 1), (80, 1), (65534, 2)])
def test_a_range_that_cannot_be_is_refused(base: int, pairs: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Ports(base, pairs, anything)


def test_bindable_tries_the_very_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((HERE, 0))
        taken = stranger.getsockname()[1]
        assert not is_bindable(HERE, taken)
    assert is_bindable(HERE, taken)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_forwarder_that_lives_on_is_heard_before_its_port_is_given_away() -> None:
    noisy, quiet = free_port(), free_port()
    with tone(HERE, noisy), anyio.fail_after(30):
        assert await noisy_ports(HERE, [noisy, quiet], 1.0) == {noisy}


def test_a_used_pair_rests_and_is_known_as_used() -> None:
    ports = Ports(30000, 2, lambda _port: True)
    ports.rest(30000, 0.0)
    assert ports.free((), REST_SECONDS - 1) == [30002]
    assert ports.free((), REST_SECONDS) == [30002, 30000]
    assert ports.is_unused(30002)
    assert not ports.is_unused(30000), "its old room's forwarder may still send there"

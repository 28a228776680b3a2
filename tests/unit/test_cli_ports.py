"""The port plan: two ``up``s on one machine never share a port."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import ports
from pkg.errors import ConfigError

BASES = st.integers(1024, 65526)


def _udp(plan: ports.Ports) -> set[int]:
    return set(range(plan.mixer_rtp, plan.janus_media[1] + 1))


@given(BASES)
def test_udp_ports_stay_below_the_ephemeral_ones(base: int) -> None:
    plan = ports.plan(base)
    assert plan.mixer_rtp % 2 == 0
    assert plan.mixer_rtp + ports.MIXER_PORTS == plan.janus_media[0]
    assert min(_udp(plan)) >= 10240
    assert max(_udp(plan)) < 32768


@given(BASES, st.integers(10, 360))
def test_bases_ten_apart_share_nothing(base: int, apart: int) -> None:
    other = base + apart
    if other <= 65526:
        assert not _udp(ports.plan(base)) & _udp(ports.plan(other))


@given(st.integers(1024, 65496))
def test_four_of_a_part_share_nothing(base: int) -> None:
    blocks = [ports.plan(base).block(n) for n in (1, 2, 3, 4)]
    assert blocks[0] == ports.plan(base)
    assert len(set().union(*map(_udp, blocks))) == 4 * ports.UDP_BLOCK
    assert len({block.hls for block in blocks} | {block.api for block in blocks}) == 8


def test_a_base_too_high_for_so_many_is_refused_by_its_option_name() -> None:
    with pytest.raises(ConfigError, match="at most 65516"):
        ports.plan(65525).block(2)


@pytest.mark.parametrize("base", [0, 80, 1023, 65527, 70000])
def test_a_base_without_room_is_refused_by_its_option_name(base: int) -> None:
    with pytest.raises(ConfigError, match="--port-base"):
        ports.plan(base)


def test_a_listener_takes_its_port_and_is_named() -> None:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        assert ports.taken([port]) == [port]
        assert "process" in ports.holder(port)
    assert ports.taken([port]) == []

"""Which port each part gets from ``--port-base``, and whether the ports are free.

TCP: base + 0 REST and pages, + 1 gateway, + 2 HLS origin, + 3 etcd clients, + 4 etcd peers,
+ 5 Janus WebSocket, + 6 Janus admin WebSocket, + 7 Janus admin HTTP, + 8 stream server.

UDP: one of 37 blocks of 600 ports, by ``base // 10 % 37``, from 10240 on and so below Linux's
ephemeral ports (32768): the first 360 for the mixer (180 pairs RTP and RTCP), the other 240 for
Janus. Two ``up``s at bases 10 or more apart share nothing, unless the bases are a multiple of
370 apart (give or take 9).

The second mixer, Janus, room manager or gateway of one ``up`` has the ports that the first would
have at base + 10, the third those at base + 20, the fourth at base + 30: such ``up``s want bases 40
apart.

>>> plan(8080).api, plan(8080).janus_admin_http
(8080, 8087)
>>> plan(8080).mixer_rtp, plan(8080).janus_media
(28840, (29200, 29439))
>>> plan(8090).mixer_rtp - plan(8080).mixer_rtp
600
>>> plan(8080).block(2).hls, plan(8080).block(2).mixer_rtp
(8092, 29440)
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from pkg.errors import ConfigError

LOOPBACK = "127.0.0.1"
TCP_PORTS = 10
UDP_FIRST = 10240
UDP_BLOCK = 600
UDP_BLOCKS = 37  # a prime: bases a round number apart do not meet
MIXER_PORTS = 360


@dataclass(frozen=True, slots=True)
class Ports:
    base: int
    mixer_rtp: int  # first of MIXER_PORTS
    janus_media: tuple[int, int]  # first, last

    @property
    def api(self) -> int:
        return self.base

    @property
    def gateway(self) -> int:
        return self.base + 1

    @property
    def hls(self) -> int:
        return self.base + 2

    @property
    def etcd_client(self) -> int:
        return self.base + 3

    @property
    def etcd_peer(self) -> int:
        return self.base + 4

    @property
    def janus_ws(self) -> int:
        return self.base + 5

    @property
    def janus_admin_ws(self) -> int:
        return self.base + 6

    @property
    def janus_admin_http(self) -> int:
        return self.base + 7

    @property
    def streams(self) -> int:
        return self.base + 8

    def block(self, n: int) -> "Ports":
        """Of the n-th of each part, from 1. Raises ConfigError where ports end."""
        try:
            return plan(self.base + TCP_PORTS * (n - 1))
        except ConfigError:
            raise ConfigError(
                f"--port-base {self.base} leaves no ports for {n} of a part: "
                f"give at most {65536 - TCP_PORTS * n}"
            ) from None


def plan(base: int) -> Ports:
    """Raises ConfigError if the TCP ports would not all lie between 1024 and 65535."""
    if not 1024 <= base <= 65536 - TCP_PORTS:
        raise ConfigError(f"--port-base must be between 1024 and {65536 - TCP_PORTS}, not {base}")
    first = UDP_FIRST + UDP_BLOCK * (base // TCP_PORTS % UDP_BLOCKS)
    return Ports(base, first, (first + MIXER_PORTS, first + UDP_BLOCK - 1))


def taken(ports: Iterable[int]) -> list[int]:
    """Those TCP ports of loopback that something listens on."""
    return [port for port in ports if not _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: a port in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on a port, in words, as far as this user may see."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr[1:] == (port,) and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"

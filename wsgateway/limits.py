"""How many may be connected, from one address and in all; and whose address it is."""

import resource
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from wsgateway.admission import busy

HALF_OPEN = 1024  # sockets that have not said what they want
OTHER_FILES = 128
FILES_PER_HOST = 2  # his WebSocket, and ours to Janus


class Limits:
    """Counts hosts by address. ``admit`` and ``leave`` come in pairs."""

    def __init__(self, in_all: int, per_address: int, trusted_proxies: Sequence[str] = ()) -> None:
        self._in_all = in_all
        self._per_address = per_address
        self._trusted = [ip_network(proxy) for proxy in trusted_proxies]
        self._count: Counter[str] = Counter()
        self._sum = 0

    def admit(self, address: str) -> None:
        """Raises RefusedError."""
        if self._sum >= self._in_all:
            raise busy("too-many-connections", "this gateway has as many hosts as it takes")
        if self._count[address] >= self._per_address:
            raise busy("too-many-connections", "too many hosts connect from your address")
        self._count[address] += 1
        self._sum += 1

    def leave(self, address: str) -> None:
        self._sum -= 1
        self._count[address] -= 1
        if not self._count[address]:
            del self._count[address]

    def address_of(self, peer: str, forwarded: Sequence[str]) -> str:
        """Who speaks: ``peer``, or whom a trusted proxy names last in X-Forwarded-For.

        >>> Limits(1, 1, ["10.0.0.0/8"]).address_of("10.1.1.1", ["1.2.3.4, 192.0.2.1, 10.2.2.2"])
        '192.0.2.1'
        >>> Limits(1, 1).address_of("10.1.1.1", ["192.0.2.1"])
        '10.1.1.1'
        >>> Limits(1, 1).address_of("2001:db8:1:2:3:4:5:6", [])
        '2001:db8:1:2::'
        """
        named = [part.strip() for part in ",".join(forwarded).split(",") if part.strip()]
        found = peer
        while named and self._trusts(found):
            found = named.pop()
        return _owner(found)

    def _trusts(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


def _owner(address: str) -> str:
    """An IPv6 host has a whole /64 to itself."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64)
    return str(found)


def room_for(hosts: int) -> int:
    """Let the process have the files that so many hosts need; answers for how many there are.

    Many systems give 1,024 at first.
    """
    needed = FILES_PER_HOST * hosts + HALF_OPEN + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < top:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
        soft = top
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return hosts
    return max(1, (soft - HALF_OPEN - OTHER_FILES) // FILES_PER_HOST)

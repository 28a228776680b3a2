"""Where webhooks may go: public addresses, over HTTPS (§12.8).

Judged twice: the URL when a subscription is made, and the addresses its name has at the moment of
sending, which are then the ones connected to. So a name cannot point elsewhere in between.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from streams.subscriptions.refusals import Denied

Address = IPv4Address | IPv6Address
_TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address stands in the last 32 bits
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def judge(text: str, *, loopback: bool) -> httpx.URL:
    """``loopback``: http://localhost and http://127.0.0.x may be named. Raises Denied 400.

    >>> def verdict(url, loopback=False):
    ...     try: judge(url, loopback=loopback)
    ...     except Denied as denied: return denied.code
    >>> verdict("https://worker.example/hook"), verdict("http://worker.example")
    (None, 'WEBHOOK_URL_REJECTED')
    >>> hosts = ["10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "localhost.", "0x7f",
    ...          "100.64.0.1", "[64:ff9b::a00:1]", "[fd00::1]", "a.localhost", "2130706433", ""]
    >>> {verdict(f"https://{host}/") for host in hosts}, verdict("https://u:p@a.example/")
    ({'WEBHOOK_URL_REJECTED'}, 'WEBHOOK_URL_REJECTED')
    >>> verdict("http://127.0.0.1:9/x", True), verdict("http://10.0.0.1/", True)
    (None, 'WEBHOOK_URL_REJECTED')
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise _rejected("webhook.url is no URL") from None
    host = url.host.lower().rstrip(".")
    if not host or url.userinfo or url.port == 0:
        raise _rejected("webhook.url needs a host, and takes no name and password")
    if _is_development(host) and loopback and url.scheme in {"http", "https"}:
        return url
    if url.scheme != "https":
        raise _rejected("webhook.url must use https")
    _expect_public(host)
    return url


def _rejected(why: str) -> Denied:
    return Denied(400, "WEBHOOK_URL_REJECTED", why)


def _is_development(host: str) -> bool:
    """localhost, or an address 127.…"""
    address = _literal(host)
    return host == "localhost" or (isinstance(address, IPv4Address) and address.is_loopback)


def _expect_public(host: str) -> None:
    address = _literal(host)
    if address is not None:
        if not is_public(address):
            raise _rejected("webhook.url must not name a private or local address")
    elif _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise _rejected("webhook.url names an address in a doubtful spelling")
    elif host == "localhost" or host.endswith(".localhost"):
        raise _rejected("webhook.url must not name this machine")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """
    >>> [is_public(ip_address(a)) for a in ("9.9.9.9", "2620:fe::fe", "224.0.0.1", "0.0.0.0")]
    [True, True, False, False]
    """
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is reached through this one."""
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


def may_reach(url: httpx.URL, address: str, *, loopback: bool) -> bool:
    """Whether a name that has this address may be sent to."""
    found = _literal(address.partition("%")[0])
    if found is None:
        return False
    if loopback and found.is_loopback and _is_development(url.host.lower().rstrip(".")):
        return True
    return is_public(found)

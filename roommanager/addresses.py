"""Is this an address at all? Modules write theirs into etcd, and anything may stand there.

A port out of range or a name that no resolver takes makes libraries raise other errors than those
of a connection that failed; in a background task one such would end the room manager.
"""

from urllib.parse import urlsplit


def is_address(url: str) -> bool:
    r"""
    >>> [is_address(u) for u in ("http://m1:8091/probe", "ws://[::1]:8188", "https://a.b")]
    [True, True, True]
    >>> [is_address(u) for u in ("", "m1", "http://m1:99999", "http://m1:-1", "ws://[::1")]
    [False, False, False, False, False]
    >>> [is_address(u) for u in ("http://a..b/", "http://m\0/", "ftp://m1/", "ws://m1:0/")]
    [False, False, False, False]
    """
    try:
        parts = urlsplit(url)
        port, name = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:  # UnicodeError, too
        return False
    return parts.scheme in {"http", "https", "ws", "wss"} and _is_name(name) and port != 0


def _is_name(name: bytes) -> bool:
    return name != b"" and all(0x20 < byte < 0x7F for byte in name)

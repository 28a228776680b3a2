"""The STUN and TURN servers that a host is told of at join (W3C WebRTC, RTCIceServer).

TURN credentials are coturn's ``use-auth-secret``: the user name begins with the time it ends, the
password is its HMAC under a secret shared with coturn. A browser refuses a turn: URL without them.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from pkg.tokens import MAX_TTL_SECONDS


class IceServers:
    def __init__(self, urls: Sequence[str], turn_secret: bytes | None) -> None:
        self._turn = [url for url in urls if is_turn(url)]
        stun: dict[str, object] = {"urls": [url for url in urls if not is_turn(url)]}
        self._stun = (stun,) if stun["urls"] else ()
        self._secret = turn_secret

    def of(self, user: str, *, now: int, until: int) -> tuple[dict[str, object], ...]:
        """For ``user``, with credentials good ``until`` then (since 1970), at most a day."""
        if not self._turn or self._secret is None:
            return self._stun
        end = min(until, now + MAX_TTL_SECONDS)
        name, password = credentials(self._secret, user, end)
        turn: dict[str, object] = {"urls": self._turn, "username": name, "credential": password}
        return (*self._stun, turn)


def is_turn(url: str) -> bool:
    """
    >>> is_turn("turns:turn.example.org:5349"), is_turn("stun:stun.example.org")
    (True, False)
    """
    return url.startswith(("turn:", "turns:"))


def credentials(secret: bytes, user: str, until: int) -> tuple[str, str]:
    """
    >>> credentials(b"north", "ann", 1433895918)
    ('1433895918:ann', 'zAlhH20kpuDJR8ZKdq5vyQV+Ung=')
    """
    name = f"{until}:{user}"
    digest = hmac.new(secret, name.encode(), hashlib.sha1).digest()  # coturn knows no other
    return name, base64.b64encode(digest).decode()

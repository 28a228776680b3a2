"""What hosts are told of STUN and TURN."""

import base64
import hashlib
import hmac

from wsgateway.turn import IceServers

DAY = 86400


def test_credentials_end_with_the_token() -> None:
    (turn,) = IceServers(["turn:t:3478"], b"secret").of("ann", now=100, until=400)
    assert turn["username"] == "400:ann"
    digest = hmac.new(b"secret", b"400:ann", hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(digest).decode()


def test_credentials_last_a_day_at_most() -> None:
    (turn,) = IceServers(["turns:t:5349"], b"secret").of("ann", now=100, until=100 + 2 * DAY)
    assert turn["username"] == f"{100 + DAY}:ann"


def test_stun_servers_have_none() -> None:
    assert IceServers(["stun:a:1", "stun:b:1"], None).of("ann", now=0, until=1) == (
        {"urls": ["stun:a:1", "stun:b:1"]},
    )

"""Tokens (docs: pkg/tokens.py): each row of the table of forgeries is refused, alike."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkg import tokens
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, TokenError, Tokens

MASTER = b"m" * 32
KEY = token_key(MASTER)
ROOM = RoomId("blue")
REMOVE = object()


@pytest.fixture
def now() -> int:
    """Of the real clock: PyJWT reads it."""
    return int(datetime.now(UTC).timestamp())


def claims(now: int, **changes: Any) -> dict[str, Any]:
    good = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": "u",
        "room": ROOM,
        "role": "listener",
        "iat": now,
        "exp": now + 60,
        "jti": "j",
    }
    return {k: v for k, v in {**good, **changes}.items() if v is not REMOVE}


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, key: bytes = KEY) -> str:
    """A token made by hand, with a right signature over whatever it says."""
    text = f"{part(header)}.{part(payload)}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    return f"{text}.{part(algorithm.sign(text.encode(), key))}"


HEADER = {"alg": "HS256", "typ": tokens.TYPE}


def with_claims(**changes: Any) -> Callable[[int], str]:
    return lambda now: signed(
        json.dumps(HEADER).encode(), json.dumps(claims(now, **changes)).encode()
    )


def with_header(**changes: Any) -> Callable[[int], str]:
    header = {k: v for k, v in {**HEADER, **changes}.items() if v is not REMOVE}
    return lambda now: signed(json.dumps(header).encode(), json.dumps(claims(now)).encode())


def later(**seconds: int) -> Callable[[int], str]:
    return lambda now: with_claims(**{k: now + v for k, v in seconds.items()})(now)


def twice(now: int) -> str:
    payload = json.dumps(claims(now)).encode()
    return signed(json.dumps(HEADER).encode(), payload[:-1] + b', "sub": "admin"}')


def unsigned(now: int) -> str:
    header = json.dumps({"alg": "none", "typ": tokens.TYPE}).encode()
    return f"{part(header)}.{part(json.dumps(claims(now)).encode())}."


def asymmetric(now: int) -> str:
    """An attacker signs with a key of their own, and says so."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims(now), private, algorithm="RS256", headers={"typ": tokens.TYPE})


def public_key_as_secret(now: int) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return signed(json.dumps(HEADER).encode(), json.dumps(claims(now)).encode(), pem)


FORGED: dict[str, Callable[[int], str]] = {
    "alg none": unsigned,
    "alg None in capitals": with_header(alg="NONE"),
    "another algorithm": with_header(alg="HS512"),
    "no alg": with_header(alg=REMOVE),
    "RS256 with a stranger's key": asymmetric,
    "a public key as HMAC secret": public_key_as_secret,
    "empty key": lambda now: signed(json.dumps(HEADER).encode(), b"{}", b""),
    "another master": lambda now: Tokens(b"x" * 32).issue(ROOM, "u", Role.HOST, now=now, ttl=60),
    "unknown crit": with_header(crit=["x"]),
    "kid not a string": with_header(kid=1),
    "no typ": with_header(typ=REMOVE),
    "plain JWT": with_header(typ="JWT"),
    "sub not a string": with_claims(sub=1),
    "sub null": with_claims(sub=None),
    "room not a string": with_claims(room=["blue"]),
    "role not a string": with_claims(role=1),
    "role unknown": with_claims(role="admin"),
    "jti not a string": with_claims(jti=1),
    "nbf in the future": later(nbf=60),
    "iat in the future": later(iat=60, exp=120),
    "wrong aud": with_claims(aud="elsewhere"),
    "wrong iss": with_claims(iss="elsewhere"),
    "iss a list": with_claims(iss=["onair"]),
    "expired": later(iat=-120, exp=-60),
    "exp before iat": later(iat=0, exp=-1),
    "exp as text": lambda now: with_claims(exp=str(now + 60))(now),
    "exp a fraction": lambda now: with_claims(exp=now + 60.5)(now),
    "exp 10^30": with_claims(exp=10**30),
    "exp and iat 10^30": with_claims(iat=10**30, exp=10**30 + 60),
    "exp true": with_claims(exp=True),
    "exp infinite": lambda now: signed(
        json.dumps(HEADER).encode(), json.dumps(claims(now, exp=float("inf"))).encode()
    ),
    "longer than a day": later(exp=tokens.MAX_TTL_SECONDS + 1),
    "claim twice": twice,
    "payload no object": lambda now: signed(json.dumps(HEADER).encode(), b"[]"),
    "payload no JSON": lambda now: signed(json.dumps(HEADER).encode(), b"{"),
    "payload deep": lambda now: signed(json.dumps(HEADER).encode(), b"[" * 900),
    "too long": with_claims(x="x" * 5000),
    "another room": with_claims(room="red"),
    "room in capitals": with_claims(room="BLUE"),
    **{f"no {name}": with_claims(**{name: REMOVE}) for name in claims(0)},
}
NO_TOKENS = ("", ".", "..", "a.b.c", "x" * 5000, "é.é.é", "\0", "a.b", "a.b.c.d", " ", "null")


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_is_refused(forged: str, now: int) -> None:
    with pytest.raises(TokenError):
        Tokens(MASTER).verify(FORGED[forged](now), ROOM)


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenError):
        Tokens(MASTER).verify(text, ROOM)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_changed_byte_anywhere_is_refused(place: int, now: int) -> None:
    parts = Tokens(MASTER).issue(ROOM, "u", Role.HOST, now=now, ttl=60).split(".")
    parts[place] = parts[place][:5] + ("A" if parts[place][5] != "A" else "B") + parts[place][6:]
    with pytest.raises(TokenError):
        Tokens(MASTER).verify(".".join(parts), ROOM)


@pytest.mark.parametrize("name", ["kid", "jwk", "jku", "x5u", "x5c"])
def test_headers_that_name_keys_are_not_looked_at(name: str, now: int) -> None:
    """A path, an address or a key: the token is judged by our own key only."""
    token = with_header(**{name: "../../dev/null"})(now)
    assert Tokens(MASTER).verify(token, ROOM).user == "u"


@pytest.mark.parametrize("role", list(Role))
def test_what_is_issued_is_accepted_and_says_what_was_asked(role: Role, now: int) -> None:
    grant = Tokens(MASTER).verify(Tokens(MASTER).issue(ROOM, "user@x", role, now=now, ttl=60), ROOM)
    assert (grant.user, grant.room_id, grant.role, grant.expires_at) == (
        *("user@x", ROOM, role),
        now + 60,
    )


def test_nothing_is_issued_for_longer_than_a_day(now: int) -> None:
    grant = Tokens(MASTER).verify(
        Tokens(MASTER).issue(ROOM, "u", Role.HOST, now=now, ttl=10**9), ROOM
    )
    assert grant.expires_at == now + tokens.MAX_TTL_SECONDS

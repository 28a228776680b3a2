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
from pkg.model import Revocation, RoomId
from pkg.secrets import key_id, token_key
from pkg.tokens import AIR, MODERATE, Grant, Role, TokenError, Tokens, is_void

MASTER = b"m" * 32
KEY = token_key(MASTER)
OTHER = token_key(b"x" * 32)
ROOM = RoomId("blue")
TOKENS = Tokens([KEY])
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


HEADER = {"alg": "HS256", "typ": tokens.TYPE, "kid": key_id(KEY)}


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


def header_twice(now: int) -> str:
    header = json.dumps(HEADER).encode()
    kid = f', "kid": "{key_id(KEY)}"}}'.encode()
    return signed(header[:-1] + kid, json.dumps(claims(now)).encode())


def unsigned(now: int) -> str:
    header = json.dumps({**HEADER, "alg": "none"}).encode()
    return f"{part(header)}.{part(json.dumps(claims(now)).encode())}."


def asymmetric(now: int) -> str:
    """An attacker signs with a key of their own, and says so."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims(now), private, algorithm="RS256", headers={**HEADER, "alg": "RS256"})


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
    "another master": lambda now: Tokens([OTHER]).issue(ROOM, "u", Role.HOST, now=now, ttl=60),
    "unknown crit": with_header(crit=["x"]),
    "crit of what we know": with_header(crit=["exp"]),
    "crit empty": with_header(crit=[]),
    "payload not encoded": with_header(b64=False),
    "no kid": with_header(kid=REMOVE),
    "kid not a string": with_header(kid=1),
    "kid null": with_header(kid=None),
    "kid a list": with_header(kid=[key_id(KEY)]),
    "kid empty": with_header(kid=""),
    "kid unknown": with_header(kid=key_id(b"z" * 32)),
    "kid a path": with_header(kid="../../dev/null"),
    "kid in capitals": with_header(kid=key_id(KEY).upper()),
    "kid of another key of ours": lambda now: signed(
        json.dumps({**HEADER, "kid": key_id(OTHER)}).encode(), json.dumps(claims(now)).encode()
    ),
    "header no object": lambda now: signed(b"[]", json.dumps(claims(now)).encode()),
    "header deep": lambda now: signed(b"[" * 900, json.dumps(claims(now)).encode()),
    "header twice": header_twice,
    "no typ": with_header(typ=REMOVE),
    "plain JWT": with_header(typ="JWT"),
    "sub not a string": with_claims(sub=1),
    "sub null": with_claims(sub=None),
    "sub with a slash": with_claims(sub="a/b"),
    "sub with a NUL": with_claims(sub="a\0"),
    "sub empty": with_claims(sub=""),
    "room with a slash": with_claims(room="a/b"),
    "jti with a slash": with_claims(jti="a/b"),
    "jti dots": with_claims(jti=".."),
    "grants a text": with_claims(role="host", grants="air"),
    "grants null": with_claims(role="host", grants=None),
    "grants of numbers": with_claims(role="host", grants=[1]),
    "grants with a slash": with_claims(role="host", grants=["a/b"]),
    "grants of 17": with_claims(role="host", grants=["a"] * 17),
    "a listener's grants": with_claims(grants=["air"]),
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
        Tokens([KEY, OTHER][: 2 if "of ours" in forged else 1]).verify(FORGED[forged](now), ROOM)


def test_what_the_forgeries_begin_with_is_accepted(now: int) -> None:
    """Else they would all be refused for another reason than their own."""
    assert TOKENS.verify(with_claims()(now), ROOM).user == "u"
    assert TOKENS.verify(with_claims(role="host", grants=["air"])(now), ROOM).grants == {"air"}


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenError):
        TOKENS.verify(text, ROOM)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_changed_byte_anywhere_is_refused(place: int, now: int) -> None:
    parts = TOKENS.issue(ROOM, "u", Role.HOST, now=now, ttl=60).split(".")
    parts[place] = parts[place][:5] + ("A" if parts[place][5] != "A" else "B") + parts[place][6:]
    with pytest.raises(TokenError):
        TOKENS.verify(".".join(parts), ROOM)


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_headers_that_bring_keys_are_not_looked_at(name: str, now: int) -> None:
    """A path, an address or a key: the token is judged by our own key only."""
    token = with_header(**{name: "../../dev/null"})(now)
    assert TOKENS.verify(token, ROOM).user == "u"


@pytest.mark.parametrize("role", list(Role))
def test_what_is_issued_is_accepted_and_says_what_was_asked(role: Role, now: int) -> None:
    token = TOKENS.issue(ROOM, "user@x", role, now=now, ttl=60, grants=[AIR, MODERATE])
    wanted = Grant(
        user="user@x",
        room_id=ROOM,
        role=role,
        issued_at=now,
        expires_at=now + 60,
        token_id=TOKENS.read(token).token_id,
        grants=frozenset({AIR, MODERATE} if role is Role.HOST else ()),
    )
    assert TOKENS.verify(token, ROOM) == TOKENS.read(token) == wanted


def test_a_token_is_read_for_whichever_room_it_names(now: int) -> None:
    red = RoomId("red")
    assert TOKENS.read(TOKENS.issue(red, "u", Role.HOST, now=now, ttl=60)).room_id == red


def test_nothing_is_issued_for_longer_than_a_day(now: int) -> None:
    grant = TOKENS.verify(TOKENS.issue(ROOM, "u", Role.HOST, now=now, ttl=10**9), ROOM)
    assert grant.expires_at == now + tokens.MAX_TTL_SECONDS


def test_keys_can_be_changed_while_tokens_live(now: int) -> None:
    old, both, new = Tokens([KEY]), Tokens([OTHER, KEY]), Tokens([OTHER])
    before = old.issue(ROOM, "u", Role.HOST, now=now, ttl=60)
    after = both.issue(ROOM, "u", Role.HOST, now=now, ttl=60)
    assert both.verify(before, ROOM).user == both.verify(after, ROOM).user == "u"
    assert new.verify(after, ROOM).user == "u"
    for tokens_, token in ((new, before), (old, after)):
        with pytest.raises(TokenError):
            tokens_.verify(token, ROOM)


@pytest.mark.parametrize("weak", [[], [b""], [b"k" * 31], [KEY, b"short"]])
def test_a_weak_key_is_refused_at_the_start(weak: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(weak)


def test_what_was_taken_back_is_void(now: int) -> None:
    grant = TOKENS.read(TOKENS.issue(ROOM, "u", Role.HOST, now=now, ttl=60))
    assert not is_void(grant, None, None)
    assert is_void(grant, Revocation(before=0), None)
    assert is_void(grant, None, Revocation(before=now))
    assert not is_void(grant, None, Revocation(before=now - 1)), "issued after he was kicked"

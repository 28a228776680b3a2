"""Host and listener tokens: JWT (RFC 7519), HS256, keys derived from the master or token secrets.

PyJWT is held to what RFC 8725 asks and the library leaves open (facts.md): a bounded size,
every claim required and of its type, a bounded lifetime, nothing named twice. All refusals look
the same to the caller of a service: ``TokenError``, whose text goes to the log only.
The key that signed is named by the header's ``kid``, so that keys can be changed while tokens
live: the first of them signs, all of them verify.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt
from ulid import ULID

from pkg import keys
from pkg.errors import OnairError
from pkg.model import Revocation, RoomId
from pkg.secrets import TOKEN_KEY_BYTES, key_id
from pkg.strictjson import MalformedError, loads

ISSUER = "onair"
AUDIENCE = "onair"
MAX_TOKEN_BYTES = 4096
MAX_TTL_SECONDS = 24 * 3600
LEEWAY_SECONDS = 5
ALGORITHM = "HS256"
TYPE = "onair+jwt"
_CLAIMS = ["iss", "aud", "sub", "room", "role", "iat", "exp", "jti"]
_GRANT_PATTERN = r"[a-z][a-z-]{0,31}"
_MAX_GRANTS = 16

AIR = "air"  # may start and stop the room
MODERATE = "moderate"  # may mute, ask to unmute and kick others


class Role(StrEnum):
    HOST = "host"
    LISTENER = "listener"


class TokenError(OnairError):
    """The token is not one of ours, is over, or is for something else."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says: who may do what, in which room, from when until when (since 1970).

    ``pin``: the mark of the PIN it was traded for; None if the operator gave it out.
    ``grants``: what a host may do besides being heard; unknown ones are kept.
    """

    user: str
    room_id: RoomId
    role: Role
    issued_at: int
    expires_at: int
    token_id: str
    pin: str | None = None
    grants: frozenset[str] = frozenset()


def is_void(grant: Grant, token: Revocation | None, user: Revocation | None) -> bool:
    """Whether it was taken back: the token itself, or all that its user had up to some second.

    ``token``, ``user``: what stands at ``keys.revoked_token`` and ``keys.revoked_user``.
    """
    return token is not None or (user is not None and grant.issued_at <= user.before)


class Tokens:
    """``secret_keys``: the first one signs, all verify. Raises ValueError for a weak or no key."""

    def __init__(self, secret_keys: Sequence[bytes]) -> None:
        if not secret_keys or any(len(key) < TOKEN_KEY_BYTES for key in secret_keys):
            raise ValueError(f"tokens need keys of {TOKEN_KEY_BYTES} bytes or more (RFC 7518 §3.2)")
        self._keys = {key_id(key): key for key in secret_keys}
        self._signs = key_id(secret_keys[0])

    def issue(  # noqa: PLR0913 - each argument is a claim
        self,
        room_id: RoomId,
        user: str,
        role: Role,
        *,
        now: int,
        ttl: int,
        pin: str | None = None,
        grants: Collection[str] = (),
    ) -> str:
        """A new token; ``now`` in seconds since 1970, ``ttl`` in seconds, at most a day."""
        return self.sign(
            Grant(
                user=user,
                room_id=room_id,
                role=role,
                issued_at=now,
                expires_at=now + min(ttl, MAX_TTL_SECONDS),
                token_id=str(ULID()),
                pin=pin,
                grants=frozenset(grants) if role is Role.HOST else frozenset(),
            )
        )

    def sign(self, grant: Grant) -> str:
        """The token that says this."""
        claims: dict[str, str | int | list[str]] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": grant.user,
            "room": grant.room_id,
            "role": grant.role.value,
            "iat": grant.issued_at,
            "exp": grant.expires_at,
            "jti": grant.token_id,
        }
        if grant.pin is not None:
            claims["pin"] = grant.pin
        if grant.role is Role.HOST:
            claims["grants"] = sorted(grant.grants)
        headers = {"typ": TYPE, "kid": self._signs}
        return jwt.encode(claims, self._keys[self._signs], algorithm=ALGORITHM, headers=headers)

    def verify(self, token: str, room_id: RoomId) -> Grant:
        """Raises TokenError for anything but a live token of ours for this room."""
        grant = self.read(token)
        if grant.room_id != room_id:
            raise TokenError("token of another room")
        return grant

    def read(self, token: str) -> Grant:
        """A live token of ours for whichever room it names. Raises TokenError.

        Whether it was revoked is not looked at: ``is_void``.
        """
        claims = self._claims(token)
        _check(claims)
        return Grant(
            user=claims["sub"],
            room_id=RoomId(claims["room"]),
            role=Role(claims["role"]),
            issued_at=claims["iat"],
            expires_at=claims["exp"],
            token_id=claims["jti"],
            pin=claims.get("pin"),
            grants=frozenset(claims.get("grants", ())),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
            raise TokenError("too long, not ASCII, or not of three parts")
        header, payload, _ = token.split(".")
        try:
            key = self._key(_object(header))
            _object(payload)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": _CLAIMS},
            )
        except (jwt.PyJWTError, MalformedError, ValueError, RecursionError) as error:
            raise TokenError(type(error).__name__) from None
        return claims

    def _key(self, header: Mapping[str, Any]) -> bytes:
        """By the name the header gives it, looked up among ours: never a path or an address."""
        if header.get("typ") != TYPE or header.get("alg") != ALGORITHM or "crit" in header:
            raise TokenError("token of another type")
        named = header.get("kid")
        found = self._keys.get(named) if type(named) is str else None
        if found is None:
            raise TokenError("signed with a key that is not, or no longer, one of ours")
        return found


def _object(part: str) -> Mapping[str, Any]:
    """Header or payload, in which nothing may stand twice."""
    found = loads(jwt.utils.base64url_decode(part))
    if type(found) is not dict:
        raise TokenError("a part of the token is no object")
    return found


def _check(claims: Mapping[str, Any]) -> None:
    """What PyJWT leaves open. Ids must be fit for etcd keys, whoever else holds our key."""
    if any(type(claims[name]) is not int for name in ("iat", "exp")):
        raise TokenError("iat and exp must be integers")
    if not 0 < claims["exp"] - claims["iat"] <= MAX_TTL_SECONDS:
        raise TokenError("lifetime out of bounds")
    if any(type(claims[name]) is not str for name in ("sub", "room", "role", "jti")):
        raise TokenError("sub, room, role and jti must be strings")
    if not keys.is_user_id(claims["sub"]) or not keys.is_room_id(claims["room"]):
        raise TokenError("sub or room is no id")
    if not keys.is_token_id(claims["jti"]):
        raise TokenError("jti is no id")
    if type(claims.get("pin", "")) is not str:
        raise TokenError("pin must be a string")
    if claims["role"] not in set(Role):
        raise TokenError("unknown role")
    _check_grants(claims)


def _check_grants(claims: Mapping[str, Any]) -> None:
    grants = claims.get("grants", [])
    if type(grants) is not list or len(grants) > _MAX_GRANTS:
        raise TokenError("grants must be a short list")
    if not all(type(g) is str and re.fullmatch(_GRANT_PATTERN, g) for g in grants):
        raise TokenError("grants must be short names")
    if grants and claims["role"] != Role.HOST:
        raise TokenError("only hosts have grants")

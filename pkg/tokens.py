"""Host and listener tokens: JWT (RFC 7519), HS256, one key derived from the master secret.

PyJWT is held to what RFC 8725 asks and the library leaves open (facts.md): a bounded size,
every claim required and of its type, a bounded lifetime, no claim twice. All refusals look the
same to the caller of a service: ``TokenError``, whose text goes to the log only.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt
from ulid import ULID

from pkg.errors import OnairError
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.strictjson import MalformedError, loads

ISSUER = "onair"
AUDIENCE = "onair"
MAX_TOKEN_BYTES = 4096
MAX_TTL_SECONDS = 24 * 3600
LEEWAY_SECONDS = 5
ALGORITHM = "HS256"
TYPE = "onair+jwt"
_CLAIMS = ["iss", "aud", "sub", "room", "role", "iat", "exp", "jti"]


class Role(StrEnum):
    HOST = "host"
    LISTENER = "listener"


class TokenError(OnairError):
    """The token is not one of ours, is over, or is for something else."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says: who may be what, in which room, until when (seconds since 1970).

    ``pin``: the mark of the PIN it was traded for; None if the operator gave it out.
    """

    user: str
    room_id: RoomId
    role: Role
    expires_at: int
    token_id: str
    pin: str | None = None


class Tokens:
    def __init__(self, master: bytes) -> None:
        self._key = token_key(master)

    def issue(
        self, room_id: RoomId, user: str, role: Role, *, now: int, ttl: int, pin: str | None = None
    ) -> str:
        """Sign a token; ``now`` in seconds since 1970, ``ttl`` in seconds, at most a day."""
        claims: dict[str, str | int] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "room": room_id,
            "role": role.value,
            "iat": now,
            "exp": now + min(ttl, MAX_TTL_SECONDS),
            "jti": str(ULID()),
        }
        if pin is not None:
            claims["pin"] = pin
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": TYPE})

    def verify(self, token: str, room_id: RoomId) -> Grant:
        """Raises TokenError for anything but a live token of ours for this room."""
        claims = self._claims(token)
        self._check(claims)
        if claims["room"] != room_id:
            raise TokenError("token of another room")
        return Grant(
            user=claims["sub"],
            room_id=room_id,
            role=Role(claims["role"]),
            expires_at=claims["exp"],
            token_id=claims["jti"],
            pin=claims.get("pin"),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise TokenError("token too long or not ASCII")
        try:
            whole = jwt.decode_complete(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": _CLAIMS},
            )
            loads(_payload_bytes(token))
        except (jwt.PyJWTError, MalformedError, ValueError, RecursionError) as error:
            raise TokenError(type(error).__name__) from None
        if whole["header"].get("typ") != TYPE:
            raise TokenError("token of another type")
        claims: dict[str, Any] = whole["payload"]
        return claims

    @staticmethod
    def _check(claims: dict[str, Any]) -> None:
        if any(type(claims[name]) is not int for name in ("iat", "exp")):
            raise TokenError("iat and exp must be integers")
        if not 0 < claims["exp"] - claims["iat"] <= MAX_TTL_SECONDS:
            raise TokenError("lifetime out of bounds")
        if any(type(claims[name]) is not str for name in ("sub", "room", "role", "jti")):
            raise TokenError("sub, room, role and jti must be strings")
        if type(claims.get("pin", "")) is not str:
            raise TokenError("pin must be a string")
        if claims["role"] not in set(Role):
            raise TokenError("unknown role")


def _payload_bytes(token: str) -> bytes:
    return jwt.utils.base64url_decode(token.split(".")[1])

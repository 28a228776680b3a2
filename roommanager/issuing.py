"""Issue a token, as REST answers it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from ulid import ULID

from pkg.model import RoomId
from pkg.tokens import Grant, Role
from roommanager import revoking
from roommanager.context import Context


@dataclass(frozen=True, slots=True)
class Wish:
    """``ttl`` in seconds; ``pin``: the mark of the PIN that the token is given for."""

    user: str
    role: Role
    ttl: int
    pin: str | None = None
    grants: Collection[str] = ()


async def issue(ctx: Context, room_id: RoomId, wish: Wish) -> tuple[str, Grant]:
    """A token that counts from now on, also right after its user was kicked; and what it says."""
    begins = await revoking.issued_from(ctx.etcd, room_id, wish.user, ctx.clock())
    grant = Grant(
        user=wish.user,
        room_id=room_id,
        role=wish.role,
        issued_at=begins,
        expires_at=begins + wish.ttl,
        token_id=str(ULID()),
        pin=wish.pin,
        grants=frozenset(wish.grants),
    )
    return ctx.tokens.sign(grant), grant


def stamp(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339, UTC.

    >>> stamp(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

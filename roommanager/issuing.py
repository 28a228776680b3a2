"""Issue a token, as REST answers it."""

from datetime import UTC, datetime

from pkg.model import RoomId
from pkg.tokens import Role
from roommanager import schemas
from roommanager.context import Context


def issue(
    ctx: Context, room_id: RoomId, user: str, role: Role, ttl: int, pin: str | None = None
) -> schemas.Token:
    """``ttl`` in seconds; ``pin``: the mark of the PIN that the token is given for."""
    now = ctx.clock()
    token = ctx.tokens.issue(room_id, user, role, now=now, ttl=ttl, pin=pin)
    expires = datetime.fromtimestamp(now + ttl, UTC).isoformat().replace("+00:00", "Z")
    return schemas.Token(token=token, expires_at=expires)

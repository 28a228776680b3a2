"""Who is in a room, and a moderator's word to them: kept in etcd, carried out by the gateways.

An order names the connection it is meant for, so that it cannot strike a later one of the same
user; it is gone after a minute, whoever was there to read it.
"""

from collections.abc import Callable

import anyio
import structlog

from pkg import keys
from pkg.etcd.api import KV, ConflictError, ModIs, Put, commit
from pkg.informer import UndecodableError, decode
from pkg.model import Host, Order, Revocation, RoomId
from roommanager import revoking
from roommanager.context import Context
from roommanager.problems import Answer, ProblemError

log = structlog.get_logger()

ORDER_SECONDS = 60
HEARD_SECONDS = 2.0  # so long is waited for a gateway to do it
LOOK_AGAIN_SECONDS = 0.25


async def participants(ctx: Context, room_id: RoomId) -> list[Host]:
    """As etcd has them now, in the order they came. One that cannot be read is passed over."""
    found = []
    for kv in (await ctx.etcd.range(keys.hosts_prefix(room_id))).kvs:
        try:
            found.append(decode(kv, Host))
        except UndecodableError as error:
            log.error("host.undecodable", error=str(error))
    return sorted(found, key=lambda host: (host.connected_at, host.user_id))


async def order(ctx: Context, room_id: RoomId, user_id: str, *, muted: bool, by: str) -> Host:
    """Mute him, or ask him to unmute; answers him as he is once he heard of it.

    Raises RoomNotFoundError, UndecodableError, and ProblemError if he is not there.
    """
    lease = await ctx.etcd.grant(ORDER_SECONDS)
    while True:
        room = await ctx.wishes.read(room_id)
        kv, host = await _host(ctx, room_id, user_id)
        wanted = Order(connection=host.connection, muted=muted, by=by)
        seen = [
            ModIs(keys.room(room_id, "meta"), room.meta_revision),
            ModIs(kv.key, kv.mod_revision),
        ]
        try:
            put = Put(keys.order(room_id, user_id), wanted.encode(), lease)
            await commit(ctx.etcd, seen, [put])
        except ConflictError:
            continue
        log.info("host.ordered", room=room_id, user=user_id, muted=muted, by=by)
        await _heard(ctx, room_id, user_id, lambda host: host is None or host.muted == muted)
        return (await _host(ctx, room_id, user_id))[1]


async def kick(ctx: Context, room_id: RoomId, user_id: str, *, by: str) -> None:
    """Make his tokens void, which closes his connection. Also if he is not there, or no more."""
    await ctx.wishes.read(room_id)
    wish = Revocation(before=ctx.clock(), kicked=True, by=by)
    await revoking.revoke_user(ctx.etcd, room_id, user_id, wish)
    log.info("host.kicked", room=room_id, user=user_id, by=by)
    kv = await ctx.etcd.get(keys.host(room_id, user_id))
    if kv is not None:
        before = _read(kv)
        await _heard(ctx, room_id, user_id, lambda host: host is None or host != before)


async def _host(ctx: Context, room_id: RoomId, user_id: str) -> tuple[KV, Host]:
    kv = await ctx.etcd.get(keys.host(room_id, user_id))
    if kv is None:
        detail = f"userId: {user_id} is not in the room; see GET /api/rooms/{room_id}/participants"
        raise ProblemError(Answer(404, "participant-not-found", detail))
    return kv, decode(kv, Host)


def _read(kv: KV | None) -> Host | None:
    try:
        return decode(kv, Host) if kv else None
    except UndecodableError:
        return None


async def _heard(
    ctx: Context, room_id: RoomId, user_id: str, holds: Callable[[Host | None], bool]
) -> None:
    """Wait until his key shows it, for a while."""
    with anyio.move_on_after(HEARD_SECONDS):
        while not holds(_read(await ctx.etcd.get(keys.host(room_id, user_id)))):
            with anyio.move_on_after(LOOK_AGAIN_SECONDS):
                await ctx.view.changed(room_id)

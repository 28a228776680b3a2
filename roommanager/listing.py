"""Pages of rooms, straight from etcd: in id order, stable while rooms come and go.

A cursor is the last id of the page before, so that it means the same on every replica and
after any restart.
"""

import base64
import binascii
from dataclasses import dataclass
from itertools import groupby

import structlog

from pkg import keys
from pkg.etcd.api import KV, Etcd
from pkg.informer import UndecodableError
from pkg.model import RoomId
from roommanager.context import Context
from roommanager.facts import RoomFacts, from_kvs
from roommanager.fleet import Fleet
from roommanager.status import RoomStatus, derive

log = structlog.get_logger()

KEYS_PER_ROOM = 4
CHUNK_ROOMS = 250
STRAY_KEYS = 100  # a room has four keys; more than these are not of our making


@dataclass(frozen=True, slots=True)
class Page:
    rooms: list[RoomFacts]
    next_cursor: str | None


def cursor(room_id: RoomId) -> str:
    """
    >>> after(cursor(RoomId("blue")))
    'blue'
    """
    return base64.urlsafe_b64encode(room_id.encode()).decode().rstrip("=")


def after(text: str | None) -> RoomId | None:
    """The id a cursor stands for; None if there is none, or it is none of ours.

    >>> [after(t) for t in (None, "", "%%%", "LQ", "Zm9vCg", "é")]
    [None, None, None, None, None, None]
    """
    if not text or len(text) > 100 or not text.isascii():
        return None
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        room_id = found.decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return RoomId(room_id) if keys.is_room_id(room_id) else None


async def fleet(etcd: Etcd) -> Fleet:
    return Fleet((await etcd.range(keys.MODULES)).kvs)


async def page(ctx: Context, last: RoomId | None, limit: int, status: RoomStatus | None) -> Page:
    """Up to ``limit`` rooms after ``last``, only those of ``status`` if it is given."""
    found: list[RoomFacts] = []
    start = f"{keys.ROOMS}{last}-" if last else None
    while True:
        chunk = await ctx.etcd.range(keys.ROOMS, limit=CHUNK_ROOMS * KEYS_PER_ROOM, start=start)
        kvs = chunk.kvs
        if chunk.more:
            cut = _room_of(kvs[-1])
            kvs = await _whole(ctx, kvs, cut)
            start = f"{keys.ROOMS}{cut}0"  # the first key after the room's: "0" follows "/"
        for facts in _rooms(kvs, chunk.revision, ctx.view.fleet):
            if last is not None and facts.room_id <= last:
                continue  # was on an earlier page
            last = facts.room_id
            if status is None or derive(facts) is status:
                found.append(facts)
                if len(found) > limit:
                    return Page(found[:limit], cursor(found[limit - 1].room_id))
        if not chunk.more:
            return Page(found, None)


async def _whole(ctx: Context, kvs: tuple[KV, ...], cut: str) -> tuple[KV, ...]:
    """Make a chunk that ended in the midst of a room whole, and one that can be sorted.

    In etcd's order ``a-b`` stands before ``a``, since "-" comes before "/"; in the order of ids
    after it. Only rooms that the last id begins with can still be missing before it.
    """
    missing = [cut, *(cut[:at] for at, sign in enumerate(cut) if sign == "-" and at)]
    found = [kv for kv in kvs if _room_of(kv) not in missing]
    for room_id in missing:
        found += (await ctx.etcd.range(keys.room_prefix(RoomId(room_id)), limit=STRAY_KEYS)).kvs
    return tuple(found)


def _room_of(kv: KV) -> str:
    return kv.key.split("/")[2]


def _rooms(kvs: tuple[KV, ...], revision: int, fleet: Fleet) -> list[RoomFacts]:
    """In id order. One damaged record is logged and passed over, and never fails the list."""
    found = []
    for room_id, group in groupby(sorted(kvs, key=_room_of), key=_room_of):
        if not keys.is_room_id(room_id):
            log.error("room.foreign", key=f"{keys.ROOMS}{room_id[:64]!r}")
            continue
        try:
            facts = from_kvs(RoomId(room_id), revision, group, fleet)
        except UndecodableError as error:
            log.error("room.undecodable", room=room_id, error=str(error))
            continue
        if facts.meta is not None:
            found.append(facts)
    return found

"""Tokens taken back: one by its id, or all that a user has of a room up to some second.

A revocation stays until every token it concerns is over, also when the room is deleted: one of
the same id may be made while they live. A token is asked for in etcd itself, not in the copy,
except for listeners, who come with theirs every second.
"""

from typing import TypeVar

from pydantic import ValidationError

from pkg import keys
from pkg.etcd.api import KV, ConflictError, Etcd, Get, ModIs, Put, commit
from pkg.informer import UndecodableError, decode
from pkg.model import Record, Revocation, RoomId
from pkg.tokens import MAX_TTL_SECONDS, Grant, is_void
from roommanager.view import View

R = TypeVar("R", bound=Record)

LEASE_SECONDS = MAX_TTL_SECONDS + 3600
EVERYTHING = Revocation(before=2**53)  # for what cannot be read: rather refuse too much


async def is_revoked(etcd: Etcd, grant: Grant) -> bool:
    """As etcd has it now."""
    user = keys.revoked_user(grant.room_id, grant.user)
    found = (await etcd.txn([], [Get(keys.revoked_token(grant.token_id)), Get(user)])).gets
    return is_void(grant, *(_read(kv) for kv in found))


def is_revoked_here(view: View, grant: Grant) -> bool:
    """As the copy has it."""
    get = view.informer.get
    token = get(keys.revoked_token(grant.token_id))
    return is_void(grant, _read(token), _read(get(keys.revoked_user(grant.room_id, grant.user))))


def _read(kv: KV | None) -> Revocation | None:
    try:
        return decode(kv, Revocation) if kv else None
    except UndecodableError:
        return EVERYTHING


async def issued_from(etcd: Etcd, room_id: RoomId, user_id: str, now: int) -> int:
    """When a token given now must say that it was issued, so that it is not void at once.

    If that is ahead of the clock it is written down, for ``revoke_user``. Raises UndecodableError.
    """
    key = keys.revoked_user(room_id, user_id)
    while True:
        kv = await etcd.get(key)
        if kv is None:
            return now
        found = decode(kv, Revocation)
        begins = found.before + 1
        if begins <= now:
            return now
        noted = found.model_copy(update={"given": begins})
        try:
            await commit(etcd, [ModIs(key, kv.mod_revision)], [Put(key, noted.encode(), kv.lease)])
        except ConflictError:
            continue
        return begins


async def revoke_token(etcd: Etcd, token_id: str, wish: Revocation) -> Revocation:
    """Answers what stands: a token is revoked once."""
    key = keys.revoked_token(token_id)
    while True:
        kv = await etcd.get(key)
        if kv is not None:
            return _read(kv) or wish
        try:
            await _write(etcd, key, 0, wish)
        except ConflictError:
            continue
        return wish


async def revoke_user(etcd: Etcd, room_id: RoomId, user_id: str, wish: Revocation) -> Revocation:
    """All tokens of this user given out until now. Answers what stands.

    Never less than what was revoked before, whatever the clock says; and what was given out since
    then ahead of the clock (``issued_from``). Repeated, it takes back nothing of the future.
    """
    key = keys.revoked_user(room_id, user_id)
    while True:
        kv = await etcd.get(key)
        last = _earlier(kv)
        before = max(wish.before, last.before, last.given) if last else wish.before
        found = wish.model_copy(update={"before": before})
        try:
            await _write(etcd, key, kv.mod_revision if kv else 0, found)
        except ConflictError:
            continue
        return found


def _earlier(kv: KV | None) -> Revocation | None:
    """What cannot be read is written over."""
    try:
        return Revocation.decode(kv.value) if kv else None
    except ValidationError:
        return None


async def _write(etcd: Etcd, key: str, revision: int, found: Revocation) -> None:
    lease = await etcd.grant(LEASE_SECONDS)
    await commit(etcd, [ModIs(key, revision)], [Put(key, found.encode(), lease)])

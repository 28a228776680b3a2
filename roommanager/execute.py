"""The guarded etcd transactions of the room manager: the only place that writes.

Each compares what the decision rested on and raises ConflictError when that has changed.
An AmbiguousError passes through: the caller reads back.
"""

from collections.abc import Mapping, Sequence

from pkg import keys
from pkg.etcd.api import (
    Compare,
    CreatedIs,
    Delete,
    DeletePrefix,
    Etcd,
    ModIs,
    Op,
    Put,
    commit,
)
from pkg.model import (
    Desired,
    Ended,
    Epoch,
    Kind,
    LiveMeta,
    Mark,
    MarkRecord,
    ModuleId,
    Removed,
    RoomMeta,
    Slot,
)
from roommanager.allocator import Place
from roommanager.facts import RoomFacts
from roommanager.plan import NOTHING, Left, Reassign

ENDED_SECONDS = 60


async def create(etcd: Etcd, meta: RoomMeta) -> int:
    key = keys.room(meta.room_id, "meta")
    return await commit(etcd, [CreatedIs(key, 0)], [Put(key, meta.encode())])


async def assign(etcd: Etcd, facts: RoomFacts, live: LiveMeta, places: Mapping[Kind, Place]) -> int:
    """Write livemeta and take both slots, if nothing it was decided on has changed."""
    return await commit(etcd, *taking(facts, live, places))


def taking(
    facts: RoomFacts, live: LiveMeta, places: Mapping[Kind, Place]
) -> tuple[list[Compare], list[Op]]:
    """The transaction of a start. Pure; the benchmark sends the same one without us.

    The compares on heartbeat and mark mean that nothing lands on a module that died, fell ill
    or is being drained meanwhile; those on the slots that no place is given twice.
    """
    compares: list[Compare] = [
        ModIs(keys.room(facts.room_id, "meta"), facts.meta_revision),
        ModIs(keys.room(facts.room_id, "livemeta"), facts.live_revision),
    ]
    ops: list[Op] = [Put(keys.room(facts.room_id, "livemeta"), live.encode())]
    for kind, place in places.items():
        slot = keys.slot(kind, place.module_id, place.slot)
        compares += [
            ModIs(keys.heartbeat(kind, place.module_id), place.heartbeat_revision),
            ModIs(keys.mark(kind, place.module_id), place.mark_revision),
            CreatedIs(slot, 0),
        ]
        holder = Slot(room_id=facts.room_id, epoch=live.half_epoch(kind))
        ops.append(Put(slot, holder.encode()))
    return compares, ops


def assignment(facts: RoomFacts, places: Mapping[Kind, Place], *, nonce: str, now: str) -> LiveMeta:
    """The wish for a room that starts: epoch = the revision the facts were read at."""
    janus, mixer = places[Kind.JANUS], places[Kind.MIXER]
    epoch = Epoch(facts.revision)
    return LiveMeta(
        room_id=facts.room_id,
        status=Desired.ONAIR,
        janus_id=janus.module_id,
        janus_epoch=epoch,
        janus_slot=janus.slot,
        mixer_id=mixer.module_id,
        mixer_epoch=epoch,
        mixer_slot=mixer.slot,
        epoch=epoch,
        nonce=nonce,
        started_at=now,
        placed={kind.value: f"{p.module_id}: {p.why}" for kind, p in places.items()},
    )


async def rewrite(etcd: Etcd, facts: RoomFacts, live: LiveMeta) -> int:
    """Replace livemeta as it was read."""
    key = keys.room(facts.room_id, "livemeta")
    return await commit(etcd, [ModIs(key, facts.live_revision)], [Put(key, live.encode())])


async def reassign(
    etcd: Etcd,
    facts: RoomFacts,
    live: LiveMeta,
    place: Place,
    action: Reassign,
    lost: Place | None = None,
) -> int:
    """Give the half to its new module, and delete what a dead one left, in one transaction.

    ``lost``: another place for a mixer half that begins anew and has lost its own.
    """
    compares, ops = taking(facts, live, {place.kind: place})
    if action.absent and facts.live is not None:
        old = keys.heartbeat(action.kind, facts.live.module(action.kind))
        compares.append(CreatedIs(old, 0))
    if action.new_mixer_epoch:
        _renew_mixer_place(facts, live, compares, ops)
    if lost is not None:  # whose capacity is still what it was
        compares.append(ModIs(keys.heartbeat(lost.kind, lost.module_id), lost.heartbeat_revision))
    _clear(facts, action.left, compares, ops)
    return await commit(etcd, compares, ops)


async def move(etcd: Etcd, facts: RoomFacts, live: LiveMeta, place: Place) -> int:
    """Take a place on a second mixer; the first keeps its own."""
    return await commit(etcd, *taking(facts, live, {place.kind: place}))


async def drop_previous(etcd: Etcd, facts: RoomFacts, live: LiveMeta, left: Left) -> int:
    key = keys.room(facts.room_id, "livemeta")
    compares: list[Compare] = [ModIs(key, facts.live_revision)]
    ops: list[Op] = [Put(key, live.encode())]
    _clear(facts, left, compares, ops)
    return await commit(etcd, compares, ops)


def _renew_mixer_place(
    facts: RoomFacts, live: LiveMeta, compares: list[Compare], ops: list[Op]
) -> None:
    """The same mixer, its place, another epoch; if the place was lost, it is created anew."""
    held = facts.place(Kind.MIXER)
    key = keys.slot(Kind.MIXER, live.mixer_id, live.mixer_slot)
    compares.append(ModIs(key, held.revision) if held else CreatedIs(key, 0))
    ops.append(Put(key, Slot(room_id=live.room_id, epoch=live.mixer_epoch).encode()))


def _clear(facts: RoomFacts, left: Left, compares: list[Compare], ops: list[Op]) -> None:
    """Delete what dead modules left, if they still have no lease and nothing of it changed."""
    compares += [CreatedIs(keys.heartbeat(*module), 0) for module in sorted(left.dead)]
    for holding in left.places:
        compares.append(ModIs(holding.key, holding.revision))
        ops.append(Delete(holding.key))
    for kind in left.observed:
        key = _observed(facts, kind)
        compares.append(ModIs(key, facts.observed_revision(kind)))
        ops.append(Delete(key))


def _observed(facts: RoomFacts, kind: Kind) -> str:
    return keys.room(facts.room_id, "janus" if kind is Kind.JANUS else "mixer")


async def finish_stop(
    etcd: Etcd, facts: RoomFacts, ended: Ended | None, call: str, left: Left
) -> int:
    """The room becomes idle. ``meta`` is written again on purpose: its mod_revision rises, so
    that an assignment decided before this moment, on an old copy, can no longer land."""
    if facts.meta is None:
        return await finish_remove(etcd, facts, (), call, left)
    meta = facts.meta.model_copy(update={"call": call or facts.meta.call})
    ops: list[Op] = [
        Delete(keys.room(facts.room_id, "livemeta")),
        Put(keys.room(facts.room_id, "meta"), meta.encode()),
    ]
    if ended is not None:
        lease = await etcd.grant(ENDED_SECONDS)
        ops.append(Put(keys.ended(ended.mixer_id, ended.room_id), ended.encode(), lease))
    compares = _as_seen(facts, left)
    _clear(facts, left, compares, ops)
    return await commit(etcd, compares, ops)


async def finish_remove(
    etcd: Etcd,
    facts: RoomFacts,
    ended_on: Sequence[ModuleId],
    call: str = "",
    left: Left = NOTHING,
) -> int:
    """Nothing of the room stays; also ends the after-life of an earlier stop (``ended_on``).

    ``call``: stands elsewhere then, until the next room is removed.
    """
    ops: list[Op] = [
        DeletePrefix(keys.room_prefix(facts.room_id)),
        DeletePrefix(keys.orders_prefix(facts.room_id)),
    ]
    ops += [Delete(keys.ended(mixer, facts.room_id)) for mixer in ended_on]
    if call:
        ops.append(Put(keys.REMOVED, Removed(room_id=facts.room_id, call=call).encode()))
    compares = _as_seen(facts, left)
    _clear(facts, left, compares, ops)
    return await commit(etcd, compares, ops)


def _as_seen(facts: RoomFacts, left: Left) -> list[Compare]:
    """The wish has not changed, and no observed key is there but what the dead left."""
    absent = [CreatedIs(_observed(facts, kind), 0) for kind in Kind if kind not in left.observed]
    return [
        ModIs(keys.room(facts.room_id, "meta"), facts.meta_revision),
        ModIs(keys.room(facts.room_id, "livemeta"), facts.live_revision),
        *absent,
    ]


async def set_mark(etcd: Etcd, kind: Kind, module_id: ModuleId, record: MarkRecord) -> int:
    """READY is no key."""
    key = keys.mark(kind, module_id)
    ready = record.mark is Mark.READY
    return await commit(etcd, [], [Delete(key) if ready else Put(key, record.encode())])

"""Mend what ``findings`` found, once ``housekeeping`` believes it: one guarded transaction each.

``cure`` is pure. Every cure compares the revisions that the finding rests on, so that it never
races a start, a stop, a move or another mender: the loser does nothing, and the next sweeps look
again. No cure ends a room that exists and is on air. A place that its module will give back
itself is left to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from pkg import keys
from pkg.errors import OnairError
from pkg.etcd.api import Compare, ConflictError, CreatedIs, Delete, Etcd, ModIs, Op, Put, commit
from pkg.informer import UndecodableError
from pkg.model import Desired, Kind, LiveMeta, ModuleId, RoomId, Slot
from roommanager.findings import (
    Finding,
    LeakedSlot,
    LostSlot,
    OrphanState,
    OrphanWish,
    StuckRoom,
    UnreadableSlot,
)
from roommanager.fleet import Module
from roommanager.view import View

log = structlog.get_logger()

Gone: TypeAlias = Callable[[Kind, ModuleId], bool]


@dataclass(frozen=True, slots=True)
class Cure:
    """A guarded write; ``event``, ``room_id``, ``key`` and ``why`` are for the log."""

    event: str
    room_id: RoomId | None
    key: str
    why: str
    compares: tuple[Compare, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Displaced:
    """The room runs on a module that has no place for it any more: it must move."""

    room_id: RoomId
    kind: Kind
    why: str


def cure(finding: Finding, view: View, gone: Gone) -> Cure | Displaced | None:
    """None: it is somebody else's to mend, or past. ``gone``: is the module gone for good?"""
    match finding:
        case StuckRoom():
            return None  # the room controller has been asked to look again
        case LostSlot():
            return _give_back(finding, view)
        case LeakedSlot():
            return _free(finding, view, gone)
        case UnreadableSlot():
            return _rewrite(finding)
        case OrphanState():
            return _forget(finding)
        case OrphanWish():
            return _end(finding, view)


# -- a room without its place ------------------------------------------------------------------


def _give_back(lost: LostSlot, view: View) -> Cure | Displaced | None:
    kind, module_id, number = lost.place
    module = view.fleet.get(kind, module_id)
    if module is None or module.heartbeat is None:
        return None  # failover's; a place on a module that is away serves nobody
    if number not in module.slots:
        return _take(lost, module, number, "its place was free, though the room is on air")
    live = _live(view, lost.room_id)
    if lost.previous or live is None:
        return None
    own = [n for n, slot in module.slots.items() if slot == _slot(lost)]
    if own:
        return _name(lost, live, own[0], view)
    return _move(lost, live, module)


def _take(lost: LostSlot, module: Module, number: int, why: str, *more: Op) -> Cure:
    """The place, if it is free, for a room and on a module that are as they were."""
    key = keys.slot(module.kind, module.module_id, number)
    heart = keys.heartbeat(module.kind, module.module_id)
    guards = (_live_is(lost), ModIs(heart, module.heartbeat_revision), CreatedIs(key, 0))
    ops = (Put(key, _slot(lost).encode()), *more)
    return Cure("slot.mended", lost.room_id, key, why, guards, ops)


def _move(lost: LostSlot, live: LiveMeta, module: Module) -> Cure | Displaced | None:
    """Another took its place: any other free one is as good, for what runs has no number."""
    if module.capacity is None:
        return None  # its module will write its heartbeat anew: nobody is moved for a bad one
    free = [n for n in range(module.capacity) if n not in module.slots]
    if not free:
        why = f"its place on {module.kind} {module.module_id} was lost, and all are taken"
        return Displaced(lost.room_id, module.kind, why)
    why = f"another had taken its place {lost.place[2]}"
    return _take(lost, module, free[0], why, _naming(lost, live, free[0]))


def _name(lost: LostSlot, live: LiveMeta, number: int, view: View) -> Cure:
    """It holds another place already, that livemeta does not name."""
    kind, module_id, before = lost.place
    key = keys.slot(kind, module_id, number)
    guards = (_live_is(lost), ModIs(key, view.informer.mod_revision(key)))
    why = f"it holds this place, and another has taken {before}"
    return Cure("slot.mended", lost.room_id, key, why, guards, (_naming(lost, live, number),))


def _naming(lost: LostSlot, live: LiveMeta, number: int) -> Op:
    moved = live.model_copy(update={f"{lost.place[0].value}_slot": number})
    return Put(keys.room(lost.room_id, "livemeta"), moved.encode())


def _slot(lost: LostSlot) -> Slot:
    return Slot(room_id=lost.room_id, epoch=lost.epoch)


def _live_is(lost: LostSlot) -> Compare:
    return ModIs(keys.room(lost.room_id, "livemeta"), lost.live_revision)


# -- a place without its room ------------------------------------------------------------------


def _free(leaked: LeakedSlot, view: View, gone: Gone) -> Cure | None:
    """A living module gives it back itself, once nothing of that epoch runs. Not a second place
    of an epoch that should run: it has no reason to."""
    kind, module_id, _ = leaked.place
    guards = (_slot_is(leaked), ModIs(_livemeta(leaked.room_id), leaked.live_revision))
    if gone(kind, module_id):
        absent = CreatedIs(keys.heartbeat(kind, module_id), 0)
        return _freed(leaked, f"{kind} {module_id} is gone for good", (*guards, absent))
    right = _right_place(leaked, view)
    if right is None:
        return None
    held = ModIs(right, view.informer.mod_revision(right))
    return _freed(leaked, "the room has its place, and this one besides", (*guards, held))


def _right_place(leaked: LeakedSlot, view: View) -> str | None:
    """The key of the place that livemeta names for this very epoch, if the room holds it."""
    kind, module_id, _ = leaked.place
    live, module = _live(view, leaked.room_id), view.fleet.get(kind, module_id)
    if live is None or module is None:
        return None
    claim = (module_id, leaked.epoch)
    if (live.module(kind), live.half_epoch(kind)) != claim:
        return None
    slot = module.slots.get(live.slot(kind))
    if slot is None or (slot.room_id, slot.epoch) != (leaked.room_id, leaked.epoch):
        return None
    return keys.slot(kind, module_id, live.slot(kind))


def _freed(leaked: LeakedSlot, why: str, guards: tuple[Compare, ...]) -> Cure:
    key = keys.slot(*leaked.place)
    return Cure("slot.freed", leaked.room_id, key, why, guards, (Delete(key),))


def _rewrite(found: UnreadableSlot) -> Cure:
    """While the key stands nobody else can take the place; so its revision is guard enough."""
    key = keys.slot(*found.place)
    if found.holder is None:
        why = "it could not be read, and no room names it"
        return Cure("slot.freed", None, key, why, (_slot_is(found),), (Delete(key),))
    room_id, epoch = found.holder
    guards = (_slot_is(found), ModIs(_livemeta(room_id), found.live_revision))
    value = Slot(room_id=room_id, epoch=epoch).encode()
    why = "it could not be read, and the room names it"
    return Cure("slot.mended", room_id, key, why, guards, (Put(key, value),))


def _slot_is(found: LeakedSlot | UnreadableSlot) -> Compare:
    return ModIs(keys.slot(*found.place), found.revision)


# -- keys of rooms that do not exist -----------------------------------------------------------


def _forget(orphan: OrphanState) -> Cure:
    room_id, key = orphan.room_id, keys.room(orphan.room_id, orphan.leaf)
    guards = (
        ModIs(keys.room(room_id, "meta"), orphan.meta_revision),
        ModIs(_livemeta(room_id), orphan.live_revision),
        ModIs(key, orphan.revision),
    )
    why = "there is no such room"
    if orphan.live_revision:
        why = "the room is ending, and its module has no place of it any more"
    elif orphan.meta_revision:
        why = "the room is not started"
    return Cure("key.orphaned", room_id, key, why, guards, (Delete(key),))


def _end(orphan: OrphanWish, view: View) -> Cure:
    """The normal way: its modules end their part, then it is deleted. If it cannot be read, its
    modules cannot follow it either, but they can its absence."""
    room_id, key = orphan.room_id, _livemeta(orphan.room_id)
    guards = (CreatedIs(keys.room(room_id, "meta"), 0), ModIs(key, orphan.live_revision))
    live = _live(view, room_id)
    if live is None:
        why = "there is no such room, and it could not be read"
        return Cure("key.orphaned", room_id, key, why, guards, (Delete(key),))
    removing = live.model_copy(update={"status": Desired.REMOVING})
    why = "there is no such room: ended as if it were deleted"
    return Cure("key.orphaned", room_id, key, why, guards, (Put(key, removing.encode()),))


def _livemeta(room_id: RoomId) -> str:
    return keys.room(room_id, "livemeta")


def _live(view: View, room_id: RoomId) -> LiveMeta | None:
    """None, too, if it cannot be read."""
    try:
        return view.informer.record(_livemeta(room_id), LiveMeta)
    except UndecodableError:
        return None


# -- doing it ----------------------------------------------------------------------------------


class Mender:
    """``displace`` is told of rooms that must move: the room controller's to do."""

    def __init__(
        self, etcd: Etcd, view: View, gone: Gone, displace: Callable[[Displaced], None]
    ) -> None:
        self._etcd = etcd
        self._view = view
        self._gone = gone
        self._displace = displace

    async def mend(self, believed: Iterable[Finding], leading: Compare) -> None:
        """Each on its own; what fails or was overtaken is left to the next sweeps."""
        for finding in sorted(believed, key=repr):
            match cure(finding, self._view, self._gone):
                case Cure() as found:
                    await self._apply(found, leading)
                case Displaced() as displaced:
                    log.warning(
                        "room.displaced",
                        room=displaced.room_id,
                        kind=displaced.kind,
                        why=displaced.why,
                    )
                    self._displace(displaced)
                case None:
                    pass

    async def _apply(self, found: Cure, leading: Compare) -> None:
        try:
            await commit(self._etcd, [leading, *found.compares], found.ops)
        except ConflictError:
            log.info("mending.overtaken", key=found.key, why=found.why)
        except OnairError as error:
            log.warning("mending.failed", key=found.key, error=str(error))
        else:
            log.warning(found.event, key=found.key, room=found.room_id, why=found.why)

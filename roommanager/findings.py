"""What in etcd does not fit together: places without their room, rooms without their place, keys
of rooms that do not exist. Pure; read from the room manager's copy, which is of one revision.

A finding names the revisions it rests on: two sweeps that find the same found it unchanged, and
``mending`` compares them. What cannot be read is never taken for absent.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pkg import keys
from pkg.informer import UndecodableError
from pkg.model import Desired, Epoch, Kind, LiveMeta, ModuleId, RoomId
from roommanager import facts
from roommanager.fleet import Module
from roommanager.view import View

PlaceKey: TypeAlias = tuple[Kind, ModuleId, int]
StateLeaf: TypeAlias = Literal["janus", "mixer"]
Claim: TypeAlias = tuple[RoomId, Epoch]


@dataclass(frozen=True, slots=True)
class LostSlot:
    """The room is on air, but its place is free or another's; ``previous``: of the mixer being
    replaced."""

    room_id: RoomId
    place: PlaceKey
    epoch: Epoch
    live_revision: int
    previous: bool = False


@dataclass(frozen=True, slots=True)
class LeakedSlot:
    """No livemeta names this place with this room and epoch."""

    place: PlaceKey
    revision: int
    room_id: RoomId
    epoch: Epoch
    live_revision: int


@dataclass(frozen=True, slots=True)
class UnreadableSlot:
    """``holder``: whom a livemeta (of ``live_revision``) names for this place."""

    place: PlaceKey
    revision: int
    holder: Claim | None
    live_revision: int = 0


@dataclass(frozen=True, slots=True)
class OrphanState:
    """An observed key of a room that is ending, not started (``live_revision`` 0) or does not exist
    (``meta_revision`` 0, too), and has no place left with which its module would delete it."""

    room_id: RoomId
    leaf: StateLeaf
    revision: int
    meta_revision: int
    live_revision: int


@dataclass(frozen=True, slots=True)
class OrphanWish:
    """A livemeta without a meta: REST says that there is no such room, so nobody can end it."""

    room_id: RoomId
    live_revision: int


@dataclass(frozen=True, slots=True)
class StuckRoom:
    """It has been told to end, and has not."""

    room_id: RoomId
    live_revision: int
    waits_for: tuple[str, ...]


Finding: TypeAlias = StuckRoom | LostSlot | LeakedSlot | UnreadableSlot | OrphanState | OrphanWish


@dataclass(frozen=True, slots=True)
class Survey:
    """Every livemeta that can be read, with its revision, and what they name."""

    lives: dict[RoomId, tuple[LiveMeta, int]]
    unreadable: frozenset[RoomId]
    named: dict[PlaceKey, set[Claim]]


def find(view: View) -> frozenset[Finding]:
    """Everything at this moment. Walks the whole copy."""
    seen = survey(view)
    return frozenset(
        [*_stuck(view, seen), *_lost(view, seen), *_slots(view, seen), *_orphans(view, seen)]
    )


def left_on(view: View, module: Module) -> frozenset[Finding]:
    """Its places alone: those that no wish names, or that cannot be read."""
    return frozenset(_of(view, survey(view), module))


def survey(view: View) -> Survey:
    lives: dict[RoomId, tuple[LiveMeta, int]] = {}
    unreadable: set[RoomId] = set()
    named: dict[PlaceKey, set[Claim]] = {}
    for room_id in view.rooms():
        try:
            live = view.live(room_id)
        except UndecodableError:
            unreadable.add(room_id)
            continue
        if live is not None:
            revision = view.informer.mod_revision(keys.room(room_id, "livemeta"))
            lives[room_id] = (live, revision)
            for place, epoch, _ in places(live):
                named.setdefault(place, set()).add((room_id, epoch))
    return Survey(lives, frozenset(unreadable), named)


def places(live: LiveMeta) -> Iterator[tuple[PlaceKey, Epoch, bool]]:
    """The places a room holds, each with its epoch; True for that of the mixer being replaced."""
    for place in facts.places(live):
        replaced = place.epoch != live.half_epoch(place.kind)
        yield (place.kind, place.module_id, place.number), place.epoch, replaced


def _stuck(view: View, seen: Survey) -> Iterator[Finding]:
    for room_id, (live, revision) in seen.lives.items():
        if live.status is Desired.ONAIR:
            continue
        with suppress(UndecodableError):
            held = view.room(room_id).held
            yield StuckRoom(room_id, revision, tuple(f"{h.kind} {h.module_id}" for h in held))


def _lost(view: View, seen: Survey) -> Iterator[Finding]:
    for room_id, (live, revision) in seen.lives.items():
        if live.status is not Desired.ONAIR:
            continue
        for place, epoch, previous in places(live):
            if _is_lost(view, place, (room_id, epoch)):
                yield LostSlot(room_id, place, epoch, revision, previous)


def _is_lost(view: View, place: PlaceKey, claim: Claim) -> bool:
    """What cannot be read may well be the room's: that is another finding."""
    kind, module_id, number = place
    module = view.fleet.get(kind, module_id)
    if module is None or number not in module.slots:
        return True
    slot = module.slots[number]
    return slot is not None and (slot.room_id, slot.epoch) != claim


def _slots(view: View, seen: Survey) -> Iterator[Finding]:
    for module in (module for kind in Kind for module in view.fleet.of(kind)):
        yield from _of(view, seen, module)


def _of(view: View, seen: Survey, module: Module) -> Iterator[Finding]:
    for number in module.slots:
        found = _slot(view, seen, module, number)
        if found is not None:
            yield found


def _slot(view: View, seen: Survey, module: Module, number: int) -> Finding | None:
    place = (module.kind, module.module_id, number)
    revision = view.informer.mod_revision(keys.slot(*place))
    slot, named = module.slots[number], seen.named.get(place, set())
    if revision == 0:
        return None  # misnamed, as "007" is: nobody's, and no business of ours (I10)
    if slot is None:
        return _unreadable(seen, place, revision, min(named, default=None))
    if (slot.room_id, slot.epoch) in named or slot.room_id in seen.unreadable:
        return None
    live_revision = view.informer.mod_revision(keys.room(slot.room_id, "livemeta"))
    return LeakedSlot(place, revision, slot.room_id, slot.epoch, live_revision)


def _unreadable(
    seen: Survey, place: PlaceKey, revision: int, holder: Claim | None
) -> UnreadableSlot | None:
    """While some livemeta cannot be read, the place may be that room's."""
    if holder is not None:
        return UnreadableSlot(place, revision, holder, seen.lives[holder[0]][1])
    return None if seen.unreadable else UnreadableSlot(place, revision, None)


def _holders(view: View) -> dict[RoomId, set[Kind]]:
    """Of which kinds a room has a place, whatever for."""
    found: dict[RoomId, set[Kind]] = {}
    for kind in Kind:
        for module in view.fleet.of(kind):
            for slot in filter(None, module.slots.values()):
                found.setdefault(slot.room_id, set()).add(kind)
    return found


def _orphans(view: View, seen: Survey) -> Iterator[Finding]:
    holders = _holders(view)
    for room_id in view.rooms():
        meta = view.informer.mod_revision(keys.room(room_id, "meta"))
        live = view.informer.mod_revision(keys.room(room_id, "livemeta"))
        desired = seen.lives[room_id][0].status if room_id in seen.lives else None
        if live and not meta and desired is not Desired.REMOVING:
            yield OrphanWish(room_id, live)
        elif not live or desired in {Desired.STOPPING, Desired.REMOVING}:
            yield from _states(view, room_id, (meta, live), holders.get(room_id, set()))


def _states(
    view: View, room_id: RoomId, revisions: tuple[int, int], held: set[Kind]
) -> Iterator[OrphanState]:
    leaves: tuple[tuple[Kind, StateLeaf], ...] = ((Kind.JANUS, "janus"), (Kind.MIXER, "mixer"))
    for kind, leaf in leaves:
        revision = view.informer.mod_revision(keys.room(room_id, leaf))
        if revision and kind not in held:
            yield OrphanState(room_id, leaf, revision, *revisions)

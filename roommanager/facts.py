"""All that etcd says of one room, at one moment: the argument of every decision about it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pkg import keys
from pkg.etcd.api import KV
from pkg.informer import UndecodableError, decode
from pkg.model import (
    Epoch,
    JanusState,
    Kind,
    LiveMeta,
    MixerState,
    ModuleId,
    Record,
    RoomId,
    RoomMeta,
)
from roommanager.fleet import Fleet

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Holding:
    """A place that livemeta names. ``revision``: of its slot's key, 0 if it is not taken so."""

    kind: Kind
    module_id: ModuleId
    number: int
    epoch: Epoch
    revision: int = 0

    @property
    def key(self) -> str:
        return keys.slot(self.kind, self.module_id, self.number)


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """``…_revision`` is the key's mod_revision, 0 if it is absent. ``revision``: of the read.

    ``held``: the places of this very assignment, ``previous`` among them, that are still taken.
    ``janus_ill``: its module says that Janus is lost, which makes its word on the room old news.
    ``unreadable``: what is wrong with an observed key that is there and cannot be read. It counts
    as nothing known: were it an error, what a dead module left would keep its rooms with it.
    """

    room_id: RoomId
    revision: int
    meta: RoomMeta | None = None
    meta_revision: int = 0
    live: LiveMeta | None = None
    live_revision: int = 0
    janus: JanusState | None = None
    mixer: MixerState | None = None
    held: tuple[Holding, ...] = ()
    janus_revision: int = 0
    mixer_revision: int = 0
    janus_ill: bool = False
    unreadable: Mapping[Kind, str] = field(default_factory=dict)

    def place(self, kind: Kind) -> Holding | None:
        """The present half's place, if it is taken."""
        live = self.live
        epoch = live.half_epoch(kind) if live else None
        return next((h for h in self.held if (h.kind, h.epoch) == (kind, epoch)), None)

    def observed(self, kind: Kind) -> JanusState | MixerState | None:
        return self.janus if kind is Kind.JANUS else self.mixer

    def observed_revision(self, kind: Kind) -> int:
        return self.janus_revision if kind is Kind.JANUS else self.mixer_revision

    @property
    def reporters(self) -> dict[Kind, ModuleId]:
        """Whose the observed keys are; one that cannot be read is the assigned module's."""
        found = ((kind, self._reporter(kind)) for kind in Kind)
        return {kind: module_id for kind, module_id in found if module_id is not None}

    def _reporter(self, kind: Kind) -> ModuleId | None:
        state = self.observed(kind)
        if state is not None:
            return reporter(state)
        return self.live.module(kind) if self.live and kind in self.unreadable else None


def gather(
    room_id: RoomId, revision: int, get: Callable[[str], KV | None], fleet: Fleet
) -> RoomFacts:
    """Read the room's keys through ``get``. Raises UndecodableError if a wish cannot be read."""

    def read(leaf: keys.RoomLeaf, kind: type[R]) -> tuple[R | None, int]:
        kv = get(keys.room(room_id, leaf))
        return (decode(kv, kind), kv.mod_revision) if kv else (None, 0)

    meta, meta_revision = read("meta", RoomMeta)
    live, live_revision = read("livemeta", LiveMeta)
    janus, janus_revision, janus_flaw = _observe(get(keys.room(room_id, "janus")), JanusState)
    mixer, mixer_revision, mixer_flaw = _observe(get(keys.room(room_id, "mixer")), MixerState)
    flaws = {Kind.JANUS: janus_flaw, Kind.MIXER: mixer_flaw}
    return RoomFacts(
        room_id=room_id,
        revision=revision,
        meta=meta,
        meta_revision=meta_revision,
        live=live,
        live_revision=live_revision,
        janus=janus,
        janus_revision=janus_revision,
        mixer=mixer,
        mixer_revision=mixer_revision,
        held=_held(fleet, live) if live else (),
        janus_ill=_is_ill(fleet, live) if live else False,
        unreadable={kind: flaw for kind, flaw in flaws.items() if flaw is not None},
    )


def _observe(kv: KV | None, kind: type[R]) -> tuple[R | None, int, str | None]:
    """The record, its revision, and why it cannot be read."""
    if kv is None:
        return None, 0, None
    try:
        return decode(kv, kind), kv.mod_revision, None
    except UndecodableError as error:
        return None, kv.mod_revision, str(error)


def from_kvs(room_id: RoomId, revision: int, kvs: Iterable[KV], fleet: Fleet) -> RoomFacts:
    return gather(room_id, revision, {kv.key: kv for kv in kvs}.get, fleet)


def _is_ill(fleet: Fleet, live: LiveMeta) -> bool:
    module = fleet.get(Kind.JANUS, live.janus_id)
    return bool(module and module.heartbeat and module.heartbeat.ill)


def _held(fleet: Fleet, live: LiveMeta) -> tuple[Holding, ...]:
    found = (taken(fleet, live.room_id, named) for named in places(live))
    return tuple(holding for holding in found if holding)


def places(live: LiveMeta) -> list[Holding]:
    """Every place that livemeta names, taken or not."""
    named = [Holding(k, live.module(k), live.slot(k), live.half_epoch(k)) for k in Kind]
    before = live.previous
    if before is not None:
        named.append(Holding(Kind.MIXER, before.mixer_id, before.slot, before.epoch))
    return named


def taken(fleet: Fleet, room_id: RoomId, named: Holding) -> Holding | None:
    """The place as it is taken by this room for this epoch; None if it is not.

    One that cannot be read counts as taken: what runs there is not known.
    """
    module = fleet.get(named.kind, named.module_id)
    if module is None or named.number not in module.slots:
        return None
    slot = module.slots[named.number]
    if slot is not None and (slot.room_id, slot.epoch) != (room_id, named.epoch):
        return None
    return replace(named, revision=module.slot_revisions[named.number])


def reporter(state: JanusState | MixerState) -> ModuleId:
    """Who wrote the observed key."""
    return state.janus_id if isinstance(state, JanusState) else state.mixer_id

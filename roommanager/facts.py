"""All that etcd says of one room, at one moment: the argument of every decision about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pkg import keys
from pkg.etcd.api import KV
from pkg.informer import decode
from pkg.model import JanusState, Kind, LiveMeta, MixerState, Record, RoomId, RoomMeta
from roommanager.fleet import Fleet

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """``…_revision`` is the key's mod_revision, 0 if it is absent. ``revision``: of the read.

    ``held`` names the kinds whose slot of this very assignment is still taken.
    """

    room_id: RoomId
    revision: int
    meta: RoomMeta | None = None
    meta_revision: int = 0
    live: LiveMeta | None = None
    live_revision: int = 0
    janus: JanusState | None = None
    mixer: MixerState | None = None
    held: frozenset[Kind] = frozenset()


def gather(
    room_id: RoomId, revision: int, get: Callable[[str], KV | None], fleet: Fleet
) -> RoomFacts:
    """Read the room's keys through ``get``. Raises UndecodableError."""

    def read(leaf: keys.RoomLeaf, kind: type[R]) -> tuple[R | None, int]:
        kv = get(keys.room(room_id, leaf))
        return (decode(kv, kind), kv.mod_revision) if kv else (None, 0)

    meta, meta_revision = read("meta", RoomMeta)
    live, live_revision = read("livemeta", LiveMeta)
    return RoomFacts(
        room_id=room_id,
        revision=revision,
        meta=meta,
        meta_revision=meta_revision,
        live=live,
        live_revision=live_revision,
        janus=read("janus", JanusState)[0],
        mixer=read("mixer", MixerState)[0],
        held=frozenset(k for k in Kind if live and _holds(fleet, live, k)),
    )


def from_kvs(room_id: RoomId, revision: int, kvs: Iterable[KV], fleet: Fleet) -> RoomFacts:
    return gather(room_id, revision, {kv.key: kv for kv in kvs}.get, fleet)


def _holds(fleet: Fleet, live: LiveMeta, kind: Kind) -> bool:
    module = fleet.get(kind, live.module(kind))
    if module is None or live.slot(kind) not in module.slots:
        return False
    slot = module.slots[live.slot(kind)]
    return slot is None or (slot.room_id, slot.epoch) == (live.room_id, live.half_epoch(kind))

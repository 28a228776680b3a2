"""The etcd work of a start, as the room manager itself would send it, for the limits. Pure.

``start`` and both reports have the keys, compares and sizes of the real ones, so that a limit
saves nothing but our own code.
"""

from dataclasses import dataclass

from pkg import keys
from pkg.etcd.api import Compare, Op, Put
from pkg.model import (
    Endpoints,
    Epoch,
    Heartbeat,
    JanusState,
    JanusStatus,
    Kind,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
    RoomMeta,
)
from roommanager import execute
from roommanager.allocator import Place
from roommanager.facts import RoomFacts

NOW = "2026-01-01T00:00:00.000Z"
NONCE = "0" * 32


@dataclass(frozen=True, slots=True)
class Chain:
    """A start's transaction, and the writes of the mixer and the Janus manager after it."""

    compares: list[Compare]
    puts: list[Op]
    reports: list[Put]


def meta(room_id: RoomId) -> Put:
    record = RoomMeta(room_id=room_id, created_at=NOW, call=NONCE)
    return Put(keys.room(room_id, "meta"), record.encode())


def heartbeat(kind: Kind, module_id: ModuleId, capacity: int) -> Put:
    """A module that says it is healthy; nobody need be behind it."""
    record = Heartbeat(
        status="healthy",
        host="bench",
        started_at=NOW,
        capacity=capacity,
        endpoints=Endpoints(ws="ws://127.0.0.1:8188", admin="http://127.0.0.1:7088/admin"),
        instance_id="01JDAAAAAAAAAAAAAAAAAAAAAA",
        pid=1,
        version="0.1.0",
    )
    return Put(keys.heartbeat(kind, module_id), record.encode())


def chain(room: tuple[RoomId, int], modules: dict[Kind, tuple[ModuleId, int]], slot: int) -> Chain:
    """``room`` and ``modules``: ids with the revision of their meta and heartbeat keys."""
    room_id, revision = room
    places = {
        kind: Place(kind, module_id, slot, beat, 0, f"{slot} of 100 places used; less loaded")
        for kind, (module_id, beat) in modules.items()
    }
    facts = RoomFacts(room_id, revision, meta_revision=revision)
    live = execute.assignment(facts, places, nonce=NONCE, now=NOW)
    compares, puts = execute.taking(facts, live, places)
    return Chain(compares, puts, _reports(room_id, Epoch(revision), modules))


def _reports(room_id: RoomId, epoch: Epoch, modules: dict[Kind, tuple[ModuleId, int]]) -> list[Put]:
    mixer = MixerState(
        mixer_id=modules[Kind.MIXER][0],
        ip="127.0.0.1",
        port=30000,
        status=MixerStatus.STARTING,
        epoch=epoch,
        endpoints=Endpoints(origin="http://127.0.0.1:8082", probe="http://127.0.0.1:8082/probe"),
    )
    janus = JanusState(
        janus_id=modules[Kind.JANUS][0],
        janus_room_id=123456,
        status=JanusStatus.FORWARDING,
        epoch=epoch,
        endpoints=Endpoints(ws="ws://127.0.0.1:8188", admin="http://127.0.0.1:7088/admin"),
        mixer_epoch=epoch,
    )
    return [
        Put(keys.room(room_id, "mixer"), mixer.encode()),
        Put(keys.room(room_id, "janus"), janus.encode()),
    ]

"""What must be in order once all is healed: I5, I7, I8, I14. Says what is not, in words."""

from collections.abc import Iterator

from janusmanager.messages import forwarder_ssrc
from pkg import keys
from pkg.model import Desired, Ended, Kind, LiveMeta, RoomId
from roommanager.facts import from_kvs
from roommanager.fleet import Fleet
from roommanager.status import RoomStatus, derive
from tests.simulation.ledger import End
from tests.simulation.world import ROOMS, World


def complaints(world: World) -> list[str]:
    lives = {live.room_id: live for live in world.lives()}
    return [
        *_statuses(world),
        *_promises(world, lives),
        *_janus_rooms(world, lives),
        *_processes(world, lives),
        *_slots(world, lives),
        *_leftovers(world, lives),
    ]


def _statuses(world: World) -> Iterator[str]:
    fleet = Fleet(world.cluster.under(keys.MODULES))
    for room in ROOMS:
        kvs = list(world.cluster.under(keys.room_prefix(room)))
        status = derive(from_kvs(room, world.cluster.revision, kvs, fleet))
        if kvs and status not in {RoomStatus.ONAIR, RoomStatus.IDLE}:
            yield f"I5: room {room} is {status.value}"
    for live in world.lives():
        if live.previous is not None:
            yield f"I5: room {live.room_id} still has a previous mixer"


def _promises(world: World, lives: dict[RoomId, LiveMeta]) -> Iterator[str]:
    for room in ROOMS:
        exists = world.cluster.get(keys.room(room, "meta")) is not None
        live = lives.get(room)
        now: End = "onair" if live and live.status is Desired.ONAIR else "idle"
        now = now if exists else "absent"
        if now not in world.ledger.ends(room):
            yield f"I8: room {room} is {now}, but users were told {world.ledger.ends(room)}"


def _janus_rooms(world: World, lives: dict[RoomId, LiveMeta]) -> Iterator[str]:
    found = {
        (marker.room_id, janus.module_id, marker.janus_epoch, n): tuple(
            f.ssrc for f in janus.rooms[n].forwarders.values()
        )
        for janus, n, marker in world.studio.rooms()
    }
    wanted = {
        (live.room_id, live.janus_id, live.janus_epoch): (
            forwarder_ssrc(live.room_id, live.mixer_epoch),
        )
        for live in lives.values()
    }
    if sorted((*key[:3], f) for key, f in found.items()) != sorted(
        (*key, f) for key, f in wanted.items()
    ):
        yield f"I5: Janus has {found}, wanted is {wanted}"


def _processes(world: World, lives: dict[RoomId, LiveMeta]) -> Iterator[str]:
    alive = sorted(
        (p.running.room_id, host.name, p.running.epoch)
        for host in world.studio.hosts
        for p in host.machine.alive()
    )
    wanted = sorted((live.room_id, live.mixer_id, live.mixer_epoch) for live in lives.values())
    stuck = [p for h in world.studio.hosts for p in h.machine.alive() if p.paused]
    if stuck:
        yield f"I5: FFmpegs are stuck: {stuck}"
    if alive != wanted:
        yield f"I5: FFmpegs are {alive}, wanted are {wanted}"


def _slots(world: World, lives: dict[RoomId, LiveMeta]) -> Iterator[str]:
    taken = {kv.key for kv in world.cluster.under(keys.MODULES) if "/slots/" in kv.key}
    wanted = {
        keys.slot(kind, live.module(kind), live.slot(kind))
        for live in lives.values()
        for kind in Kind
    }
    if taken != wanted:
        yield f"I5: slots are {sorted(taken)}, wanted are {sorted(wanted)}"


def _leftovers(world: World, lives: dict[RoomId, LiveMeta]) -> Iterator[str]:
    ended = [Ended.decode(kv.value) for kv in world.cluster.under(keys.ENDED)]
    kept = {(e.mixer_id, e.room_id, e.epoch) for e in ended}
    kept |= {(live.mixer_id, live.room_id, live.mixer_epoch) for live in lives.values()}
    left = {(h.name, r, e) for h in world.studio.hosts for r, e in h.machine.folders} - kept
    if left:
        yield f"I7: folders are left: {sorted(left)}"
    for room in set(ROOMS) - lives.keys():
        leaves = {kv.key for kv in world.cluster.under(keys.room_prefix(room))}
        if leaves - {keys.room(room, "meta")}:
            yield f"I7: keys are left of room {room}: {sorted(leaves)}"

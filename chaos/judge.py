"""Holds the five lists against the invariants (docs/invariants.md). Pure; each finding in words.

``always`` must be empty at every moment, ``settled`` once things had time to settle. A finding
begins with the invariant's number and the room: ``I5 blue: 2 FFmpegs …``.
"""

from collections import Counter
from collections.abc import Iterator

from chaos.lists import BridgeRoom, Forward, Lists, Process
from janusmanager.messages import forwarder_ssrc, is_our_ssrc
from pkg import keys
from pkg.model import (
    Desired,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
)

# -- at every moment -----------------------------------------------------------------------


def always(now: Lists, before: Lists | None = None) -> list[str]:
    """``before``: an earlier look, for what may only rise."""
    wrong = [*_capacity(now), *_shared_ports(now), *_planted(now)]
    return wrong + (list(_epochs(before, now)) if before else [])


def _capacity(lists: Lists) -> Iterator[str]:
    """I2, by slots and by what really runs."""
    taken = Counter((kind, module) for kind, module, _, _ in lists.slots())
    places = {(k, m, n): s.room_id for k, m, n, s in lists.slots()}
    mixes = {(p.mixer_id, p.room, p.epoch) for p in lists.processes}
    runs = Counter((Kind.MIXER, mixer_id) for mixer_id, _, _ in mixes)
    runs.update((Kind.JANUS, b.janus_id) for b in lists.bridges if b.room)
    for (kind, module), beat in lists.heartbeats().items():
        for what, count in (("slots", taken[kind, module]), ("rooms running", runs[kind, module])):
            if count > beat.capacity:
                yield f"I2 {kind} {module}: {count} {what}, capacity {beat.capacity}"
        for (k, m, number), room in places.items():
            if (k, m) == (kind, module) and number >= beat.capacity:
                yield f"I2 {room}: place {number} of {kind} {module}, capacity {beat.capacity}"


def _shared_ports(lists: Lists) -> Iterator[str]:
    """I6: FFmpeg takes its port and the one above it."""
    holders: dict[int, Process] = {}
    for process in lists.processes:
        for port in (process.port, process.port + 1):
            other = holders.setdefault(port, process)
            if other.pid != process.pid:
                yield (
                    f"I6 {process.room}: port {port} belongs to FFmpeg {process.pid} and to "
                    f"FFmpeg {other.pid} of {other.room}"
                )


def _epochs(before: Lists, now: Lists) -> Iterator[str]:
    """I3: epochs only rise, over deletion too while the earlier look still knew the room."""
    for old in before.lives():
        new = now.live(old.room_id)
        if new is None:
            continue
        for name in ("epoch", "janus_epoch", "mixer_epoch"):
            was, is_ = getattr(old, name), getattr(new, name)
            if is_ < was:
                yield f"I3 {old.room_id}: {name} went back from {was} to {is_}"


def _planted(lists: Lists) -> Iterator[str]:
    for what in sorted(lists.planted - lists.strangers):
        yield f"I10 {what}: Onair did not make it, and it is gone"


# -- once settled --------------------------------------------------------------------------


def settled(lists: Lists) -> list[str]:
    """All of ``always`` too. What lies at a dead module (no heartbeat) is not held against it."""
    wrong = always(lists)
    for live in lists.lives():
        if live.status is Desired.ONAIR:
            wrong += _on_air(lists, live)
        else:
            wrong.append(f"I5 {live.room_id}: still {live.status}")
    wrong += [*_slots(lists), *_processes(lists), *_bridges(lists), *_ports(lists)]
    wrong += [*_folders(lists), *_orphan_keys(lists), *_hosts(lists)]
    wrong += [*_participants(lists), *_ledger(lists)]
    return wrong


def _on_air(lists: Lists, live: LiveMeta) -> list[str]:
    room = live.room_id
    mixer, janus = lists.mixer(room), lists.janus(room)
    wrong = [*_half_states(live, mixer, janus)]
    if live.previous is not None:
        wrong.append(f"I3 {room}: mixer {live.previous.mixer_id} is still kept as previous")
    runs = [p for p in lists.processes if (p.room, p.epoch) == (room, live.mixer_epoch)]
    if len(runs) != 1:
        wrong.append(f"I5 {room}: {len(runs)} FFmpegs of epoch {live.mixer_epoch}, not one")
    elif mixer is not None and (runs[0].mixer_id, runs[0].port) != (live.mixer_id, mixer.port):
        wrong.append(
            f"I5 {room}: FFmpeg at {runs[0].mixer_id} port {runs[0].port}, etcd says "
            f"{live.mixer_id} port {mixer.port}"
        )
    if live.janus_id in lists.mute:
        wrong.append(f"I5 {room}: its Janus {live.janus_id} does not answer")
    else:
        wrong += _bridge_of(lists, live, mixer)
    return wrong


def _half_states(
    live: LiveMeta, mixer: MixerState | None, janus: JanusState | None
) -> Iterator[str]:
    room = live.room_id
    if mixer is None or (mixer.mixer_id, mixer.epoch) != (live.mixer_id, live.mixer_epoch):
        yield f"I5 {room}: mixer {live.mixer_id} does not report epoch {live.mixer_epoch}"
    elif mixer.status is not MixerStatus.PUBLISHING:
        yield f"I5 {room}: its mixer is {mixer.status}: {mixer.reason}"
    if janus is None or (janus.janus_id, janus.epoch) != (live.janus_id, live.janus_epoch):
        yield f"I5 {room}: Janus {live.janus_id} does not report epoch {live.janus_epoch}"
    elif janus.status is not JanusStatus.FORWARDING or janus.mixer_epoch != live.mixer_epoch:
        yield f"I5 {room}: its Janus is {janus.status} to mixer epoch {janus.mixer_epoch}"


def _bridge_of(lists: Lists, live: LiveMeta, mixer: MixerState | None) -> list[str]:
    room = live.room_id
    wanted = (live.janus_id, room, live.janus_epoch)
    found = [b for b in lists.bridges if (b.janus_id, b.room, b.epoch) == wanted]
    if len(found) != 1:
        return [f"I5 {room}: {len(found)} AudioBridge rooms in {live.janus_id}, not one"]
    ours = [f for f in found[0].forwards if is_our_ssrc(room, f.ssrc)]
    if len(ours) != 1:
        return [f"I5 {room}: {len(ours)} forwarders, not one"]
    return [] if mixer is None else _forward(live, mixer, ours[0])


def _forward(live: LiveMeta, mixer: MixerState, forward: Forward) -> list[str]:
    right = (mixer.ip, mixer.port, forwarder_ssrc(live.room_id, live.mixer_epoch))
    if (forward.host, forward.port, forward.ssrc) == right:
        return []
    return [
        f"I5 {live.room_id}: forwards to {forward.host}:{forward.port} (ssrc {forward.ssrc:#x}), "
        f"its mixer listens at {mixer.ip}:{mixer.port} (ssrc {right[2]:#x})"
    ]


def _slots(lists: Lists) -> Iterator[str]:
    held = {(kind, module, number): slot for kind, module, number, slot in lists.slots()}
    wanted: dict[tuple[Kind, ModuleId, int], tuple[RoomId, int]] = {}
    for live in lists.lives():
        for kind in Kind:
            place = (kind, live.module(kind), live.slot(kind))
            wanted[place] = (live.room_id, live.half_epoch(kind))
    for place, owner in wanted.items():
        slot = held.get(place)
        if slot is None or (slot.room_id, slot.epoch) != owner:
            yield f"I5 {owner[0]}: slot {place[2]} of {place[0]} {place[1]} is not its own"
    for place, slot in held.items():
        if place not in wanted:
            yield f"I5 {slot.room_id}: leaked slot {place[2]} of {place[0]} {place[1]}"


def _processes(lists: Lists) -> Iterator[str]:
    wanted = {(live.mixer_id, live.room_id, live.mixer_epoch) for live in lists.lives()}
    for p in lists.processes:
        orphan = (p.mixer_id, p.room, p.epoch) not in wanted
        if orphan and lists.is_alive(Kind.MIXER, p.mixer_id):
            yield f"I5 {p.room}: orphan FFmpeg {p.pid} of epoch {p.epoch} at {p.mixer_id}"


def _bridges(lists: Lists) -> Iterator[str]:
    wanted = {(live.janus_id, live.room_id, live.janus_epoch) for live in lists.lives()}
    for bridge in lists.bridges:
        if bridge.room is None or not lists.is_alive(Kind.JANUS, bridge.janus_id):
            continue
        if (bridge.janus_id, bridge.room, bridge.epoch) not in wanted:
            yield _orphan_bridge(bridge)


def _orphan_bridge(bridge: BridgeRoom) -> str:
    return (
        f"I5 {bridge.room}: orphan AudioBridge room {bridge.number} of epoch {bridge.epoch} "
        f"in {bridge.janus_id}"
    )


def _ports(lists: Lists) -> Iterator[str]:
    held = {port: p for p in lists.processes for port in (p.port, p.port + 1)}
    for port, process in sorted(held.items()):
        if port not in lists.ports:
            yield f"I5 {process.room}: FFmpeg {process.pid} has not bound port {port}"
    for port in sorted(lists.ports - held.keys()):
        yield f"I5 port {port}: bound by nobody's FFmpeg"


def _folders(lists: Lists) -> Iterator[str]:
    """An older epoch's folder stays for its window of 30 s where its room is on air again."""
    wanted = {(live.mixer_id, live.room_id): live.mixer_epoch for live in lists.lives()}
    kept = lists.ended()
    for f in sorted(lists.folders, key=lambda f: (f.room, f.epoch)):
        if not lists.is_alive(Kind.MIXER, f.mixer_id) or (f.mixer_id, f.room) in kept:
            continue
        if f.epoch > wanted.get((f.mixer_id, f.room), 0):
            yield f"I7 {f.room}: folder of epoch {f.epoch} is left at {f.mixer_id}"


def _orphan_keys(lists: Lists) -> Iterator[str]:
    for key in sorted(lists.keys):
        found = keys.parse_room(key)
        if found is None:
            continue
        room, leaf = found
        if leaf != "meta" and keys.room(room, "meta") not in lists.keys:
            yield f"I7 {room}: key {key} of a room that does not exist"
        elif leaf in ("janus", "mixer") and keys.room(room, "livemeta") not in lists.keys:
            yield f"I5 {room}: key {key} of a room that is not started"


def _hosts(lists: Lists) -> Iterator[str]:
    """A gateway's keys go with its lease, and hosts of a room with the room."""
    for room, user, host in lists.hosts():
        if host is None:
            yield f"I5 {room}: the key of host {user} cannot be read"
        elif not lists.has_gateway(host.gateway_id):
            yield f"I5 {room}: host {user} is held by gateway {host.gateway_id}, which is gone"
        if keys.room(room, "meta") not in lists.keys:
            yield f"I7 {room}: host {user} of a room that does not exist"


def _participants(lists: Lists) -> Iterator[str]:
    """One for each host's key at most: two of a user would speak with one voice."""
    held = {(room, user) for room, user, _ in lists.hosts()}
    for bridge in lists.bridges:
        for user, count in Counter(bridge.users).items():
            if count > 1:
                yield f"I5 {bridge.room}: {user} is {count} times in {bridge.janus_id}"
            if bridge.room is not None and (bridge.room, user) not in held:
                yield f"I5 {bridge.room}: {user} is in {bridge.janus_id}, and at no gateway"


def _ledger(lists: Lists) -> Iterator[str]:
    """I8; and I7 for what was deleted."""
    for room, states in sorted(lists.allowed.items()):
        state = _state(lists, RoomId(room))
        if state not in states:
            number = "I7" if states == {"gone"} else "I8"
            yield f"{number} {room}: is {state}, acknowledged was {' or '.join(sorted(states))}"


def _state(lists: Lists, room: RoomId) -> str:
    if keys.room(room, "livemeta") in lists.keys:
        return "onair"
    return "idle" if keys.room(room, "meta") in lists.keys else "gone"

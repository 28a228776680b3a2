"""Decide what to do about one room in one Janus. Pure: no I/O, clock, random or log.

Called by ``controller`` again and again until nothing is left to do; each answer is a list of
actions in the order in which they are to be carried out, the first failure ending it.
"""

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

from janusmanager.api import Forwarder
from janusmanager.messages import forwarder_ssrc, is_our_ssrc
from pkg.assignments import Assigned
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    JanusState,
    JanusStatus,
    LiveMeta,
    MixerState,
    ModuleId,
    RoomId,
)


@dataclass(frozen=True, slots=True)
class Present:
    """An AudioBridge room of ours as Janus lists it, with all its forwarders.

    ``refusal``: Janus does not let us look into it (it was made under another master secret).
    """

    number: int
    epoch: Epoch
    forwarders: tuple[Forwarder, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Self:
    """This module, as it shows in the observed key."""

    janus_id: ModuleId
    endpoints: Endpoints


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known of one room.

    ``observed``: the room's key ``janus``, whoever wrote it. ``orphans``: epochs that two sweeps
    found in Janus without a place here. ``trouble``: why the last forward did not work.
    ``just_made``: the room was created a moment ago, and the mixer's port may be known any instant.
    """

    assigned: Assigned
    present: tuple[Present, ...] = ()
    observed: JanusState | None = None
    mixer: MixerState | None = None
    orphans: frozenset[Epoch] = frozenset()
    trouble: str | None = None
    just_made: bool = False


@dataclass(frozen=True, slots=True)
class DestroyRoom:
    number: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Give back the places of these epochs, and our key if it is of one of them."""

    epochs: frozenset[Epoch]


@dataclass(frozen=True, slots=True)
class CreateRoom:
    """Under a number that ``execute`` finds free."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Forward:
    """Have exactly one forwarder of ``ssrc`` in the room, to this address."""

    number: int
    epoch: Epoch
    host: str
    port: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class StopForward:
    number: int
    epoch: Epoch
    stream_id: int


@dataclass(frozen=True, slots=True)
class Report:
    state: JanusState


Action: TypeAlias = DestroyRoom | Withdraw | CreateRoom | Forward | StopForward | Report


def plan(facts: Facts, me: Self) -> list[Action]:
    """What is not wanted ends first, so that its place is free even if the rest fails."""
    wanted, live = facts.assigned.wanted, facts.assigned.live
    actions: list[Action] = [
        DestroyRoom(p.number, p.epoch) for p in facts.present if _must_end(facts, p.epoch)
    ]
    if ended := _ended(facts, me):
        actions.append(Withdraw(ended))
    if wanted is None or live is None:
        return actions
    room = _chosen(facts, wanted)
    if room is None:
        return [*actions, CreateRoom(wanted)]
    doubles = [p for p in facts.present if p.epoch == wanted and p is not room]
    actions += [DestroyRoom(p.number, p.epoch) for p in doubles]
    return actions + _feed(facts, me, live, room)


# --- what must not be ---------------------------------------------------------------------


def _must_end(facts: Facts, epoch: Epoch) -> bool:
    """An epoch without a place is ended on proof, or if two sweeps found it unknown."""
    assigned = facts.assigned
    if epoch == assigned.wanted:
        return False
    return assigned.holds(epoch) or _is_over(assigned.live, epoch) or _is_orphan(facts, epoch)


def _is_over(live: LiveMeta | None, epoch: Epoch) -> bool:
    """Epochs only rise, so a higher one ends all before it."""
    if live is None:
        return False
    ending = live.janus_epoch == epoch and live.status is not Desired.ONAIR
    return ending or live.janus_epoch > epoch


def _is_orphan(facts: Facts, epoch: Epoch) -> bool:
    """While livemeta names the epoch, only its place is missing: the room manager's to mend."""
    live = facts.assigned.live
    named = live is not None and live.janus_epoch == epoch
    return epoch in facts.orphans and not named


def _ended(facts: Facts, me: Self) -> frozenset[Epoch]:
    """Epochs that hold a place, or are told of in our key, but neither run nor should."""
    told = {held.epoch for held in facts.assigned.held}
    if facts.observed is not None and facts.observed.janus_id == me.janus_id:
        told.add(facts.observed.epoch)
    return frozenset(told - {facts.assigned.wanted} - {p.epoch for p in facts.present})


# --- what must be -------------------------------------------------------------------------


def _chosen(facts: Facts, wanted: Epoch) -> Present | None:
    """The one that hosts were told of, else the lowest number."""
    rooms = sorted((p for p in facts.present if p.epoch == wanted), key=lambda p: p.number)
    observed = facts.observed
    told = observed.janus_room_id if observed and observed.epoch == wanted else None
    return next((p for p in rooms if p.number == told), rooms[0] if rooms else None)


def _feed(facts: Facts, me: Self, live: LiveMeta, room: Present) -> list[Action]:
    """The mix goes to the present mixer, exactly once, and the key says so.

    Forwarders to former mixers are stopped only when the new one stands; the one to
    ``live.previous`` stays as long as that is set (make before break).
    """
    ssrc = forwarder_ssrc(live.room_id, live.mixer_epoch)
    target, reason = _target(live, facts.mixer)
    right = [f for f in room.forwarders if f.ssrc == ssrc and target in (None, (f.host, f.port))]
    state = _state(facts, me, live, room, feeding=bool(right), reason=reason)
    report: list[Action] = [Report(state)] if state != facts.observed else []
    if target is not None and not right:
        forward = Forward(room.number, room.epoch, *target, ssrc)
        # On the way to `forwarding` no other state is worth a write, unless it does not work.
        return [*report, forward] if facts.trouble else [forward]
    if facts.just_made and not right and state.reason is None:
        return []  # nobody can use "created" in so short a time; `forwarding` is written sooner
    surplus = _surplus(live, room, right[0]) if right else []
    return [*(StopForward(room.number, room.epoch, f.stream_id) for f in surplus), *report]


def _target(live: LiveMeta, mixer: MixerState | None) -> tuple[tuple[str, int] | None, str | None]:
    """Where the present mixer wants the mix, or why that cannot be done; neither if unknown."""
    if mixer is None or mixer.epoch != live.mixer_epoch:
        return None, None
    try:
        host = str(ipaddress.ip_address(mixer.ip))
    except ValueError:
        return None, f"mixer {mixer.mixer_id} reports {mixer.ip!r}, which is not an IP address"
    if not 0 < mixer.port < 65536:
        return None, f"mixer {mixer.mixer_id} reports port {mixer.port}"
    return (host, mixer.port), None


def _state(
    facts: Facts, me: Self, live: LiveMeta, room: Present, *, feeding: bool, reason: str | None
) -> JanusState:
    fed = live.mixer_epoch if feeding else _still_fed(live, room)
    return JanusState(
        janus_id=me.janus_id,
        janus_room_id=room.number,
        status=JanusStatus.ROOM_CREATED if fed is None else JanusStatus.FORWARDING,
        epoch=room.epoch,
        endpoints=me.endpoints,
        mixer_epoch=fed,
        reason=None if feeding else facts.trouble or reason,
    )


def _still_fed(live: LiveMeta, room: Present) -> Epoch | None:
    """The mixer being replaced, if the mix still goes there."""
    if live.previous is None:
        return None
    ssrc = forwarder_ssrc(live.room_id, live.previous.epoch)
    return live.previous.epoch if any(f.ssrc == ssrc for f in room.forwarders) else None


def _surplus(live: LiveMeta, room: Present, right: Forwarder) -> list[Forwarder]:
    """Forwarders of ours besides the right one; a stranger's is never touched."""
    kept = {right.stream_id}
    if live.previous is not None:
        ssrc = forwarder_ssrc(live.room_id, live.previous.epoch)
        kept |= {f.stream_id for f in room.forwarders if f.ssrc == ssrc and f.ssrc != right.ssrc}
    return [f for f in _ours(live.room_id, room) if f.stream_id not in kept]


def _ours(room_id: RoomId, room: Present) -> list[Forwarder]:
    return [f for f in room.forwarders if is_our_ssrc(room_id, f.ssrc)]

"""A room's status and the sentence that explains it, computed from facts each time.

Nothing here is stored: two replicas with the same facts give the same answer (contract.md §2).
"""

from enum import StrEnum

from pkg.model import Desired, JanusState, JanusStatus, Kind, LiveMeta, MixerState, MixerStatus
from roommanager.facts import RoomFacts
from roommanager.fleet import Fleet


class RoomStatus(StrEnum):
    IDLE = "idle"
    STARTING = "starting"
    ONAIR = "onair"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    REMOVING = "removing"


def derive(facts: RoomFacts) -> RoomStatus:
    """The status of a room that exists (has a meta key)."""
    live = facts.live
    if live is None:
        return RoomStatus.IDLE
    if live.status is Desired.STOPPING:
        return RoomStatus.STOPPING
    if live.status is Desired.REMOVING:
        return RoomStatus.REMOVING
    if is_on_air(live, facts.janus, facts.mixer):
        return RoomStatus.ONAIR
    return RoomStatus.DEGRADED if live.on_air_at else RoomStatus.STARTING


def is_on_air(live: LiveMeta, janus: JanusState | None, mixer: MixerState | None) -> bool:
    """The current epoch's mixer publishes, and the current epoch's Janus forwards to it."""
    return (
        janus is not None
        and mixer is not None
        and (janus.epoch, mixer.epoch) == (live.janus_epoch, live.mixer_epoch)
        and mixer.status is MixerStatus.PUBLISHING
        and janus.status is JanusStatus.FORWARDING
        and janus.mixer_epoch == live.mixer_epoch
    )


def reason(facts: RoomFacts, fleet: Fleet) -> str:
    """One sentence: why the room is not on air, or that it is."""
    match derive(facts):
        case RoomStatus.IDLE:
            return "The room is not started: nobody asked for it to be on air."
        case RoomStatus.ONAIR:
            return "The room is on air."
        case RoomStatus.STOPPING | RoomStatus.REMOVING:
            return _ending(facts, fleet)
        case RoomStatus.STARTING | RoomStatus.DEGRADED:
            return _missing(facts, fleet)


def _ending(facts: RoomFacts, fleet: Fleet) -> str:
    live = facts.live
    waits = [
        f"{kind.value} {live.module(kind)} to end its part{_if_sick(fleet, live, kind)}"
        for kind in Kind
        if live and (kind in facts.held or _state(facts, kind) is not None)
    ]
    return f"Waiting for {' and for '.join(waits)}." if waits else "Both halves have ended."


def _missing(facts: RoomFacts, fleet: Fleet) -> str:
    live = facts.live
    if live is None:
        return ""
    parts = [part for kind in Kind if (part := _half(facts, live, kind, fleet))]
    if not parts:
        parts = [f"janus {live.janus_id} does not forward to the present mixer yet"]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _half(facts: RoomFacts, live: LiveMeta, kind: Kind, fleet: Fleet) -> str | None:
    """What this half lacks, in words; None if it is as it should be."""
    name = f"{kind.value} {live.module(kind)}"
    state = _state(facts, kind)
    sick = _if_sick(fleet, live, kind)
    if state is None or state.epoch != live.half_epoch(kind):
        return f"{name} has not taken the room yet{sick}"
    if state.status in {MixerStatus.PUBLISHING, JanusStatus.FORWARDING}:
        return f"{name} is not well{sick}" if sick else None
    words = {
        MixerStatus.STARTING: "waits for its first segment",
        MixerStatus.STARVED: "gets no sound from Janus",
        MixerStatus.FAILING: "cannot keep FFmpeg running",
        JanusStatus.ROOM_CREATED: "has the room, but does not forward it yet",
    }[state.status]
    return f"{name} {words}" + (f" ({state.reason})" if state.reason else "") + sick


def _state(facts: RoomFacts, kind: Kind) -> JanusState | MixerState | None:
    return facts.janus if kind is Kind.JANUS else facts.mixer


def _if_sick(fleet: Fleet, live: LiveMeta, kind: Kind) -> str:
    module = fleet.get(kind, live.module(kind))
    why = module.unhealthy if module else "no heartbeat: it is not running, or cannot reach etcd"
    return f" ({why})" if why else ""

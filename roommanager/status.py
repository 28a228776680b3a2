"""A room's status and the sentences that explain it, computed from facts each time.

Nothing here is stored: two replicas with the same facts give the same answer (contract.md §2).
"""

from enum import StrEnum

from pkg.model import Desired, JanusState, JanusStatus, Kind, LiveMeta, MixerState, MixerStatus
from roommanager.facts import RoomFacts
from roommanager.fleet import Fleet
from roommanager.prospects import Judged, prospects
from roommanager.verdict import Fitness


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
    if is_on_air(live, facts.janus, facts.mixer) and not facts.janus_ill:
        return RoomStatus.ONAIR
    return RoomStatus.DEGRADED if live.on_air_at else RoomStatus.STARTING


def is_on_air(live: LiveMeta, janus: JanusState | None, mixer: MixerState | None) -> bool:
    """The current epoch's mixer publishes, and the current epoch's Janus forwards to it."""
    return (
        mixer is not None
        and mixer.epoch == live.mixer_epoch
        and mixer.status is MixerStatus.PUBLISHING
        and is_fed(live, janus)
    )


def is_fed(live: LiveMeta, janus: JanusState | None) -> bool:
    """The current epoch's Janus forwards to the current epoch's mixer."""
    return (
        janus is not None
        and janus.epoch == live.janus_epoch
        and janus.status is JanusStatus.FORWARDING
        and janus.mixer_epoch == live.mixer_epoch
    )


def reason(facts: RoomFacts, fleet: Fleet, judged: Judged) -> str:
    """Why the room is not on air, or that it is, and what is about to become of it."""
    status = derive(facts)
    sentences = [_state_of(status, facts, fleet, judged)]
    sentences += prospects(facts, fleet, judged, on_air=status is RoomStatus.ONAIR)
    return " ".join(sentences)


def _state_of(status: RoomStatus, facts: RoomFacts, fleet: Fleet, judged: Judged) -> str:
    match status:
        case RoomStatus.IDLE:
            return "The room is not started: nobody asked for it to be on air."
        case RoomStatus.ONAIR:
            return "The room is on air."
        case RoomStatus.STOPPING | RoomStatus.REMOVING:
            return _ending(facts, judged)
        case RoomStatus.STARTING | RoomStatus.DEGRADED:
            return _missing(facts, fleet, judged)


def _ending(facts: RoomFacts, judged: Judged) -> str:
    held = {(holding.kind, holding.module_id) for holding in facts.held}
    waits = [
        f"{kind.value} {module_id} to end its part{_in_brackets(judged(kind, module_id).reason)}"
        for kind, module_id in sorted(held | set(facts.reporters.items()))
    ]
    return f"Waiting for {' and for '.join(waits)}." if waits else "Both halves have ended."


def _missing(facts: RoomFacts, fleet: Fleet, judged: Judged) -> str:
    live = facts.live
    if live is None:
        return ""
    parts = [part for kind in Kind if (part := _half(facts, live, kind, fleet, judged))]
    if not parts:
        parts = [f"janus {live.janus_id} does not forward to the present mixer yet"]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _half(facts: RoomFacts, live: LiveMeta, kind: Kind, fleet: Fleet, judged: Judged) -> str | None:
    """What this half lacks, in words; None if it is as it should be."""
    name = f"{kind.value} {live.module(kind)}"
    state = facts.observed(kind)
    sick = _if_sick(fleet, live, kind, judged)
    if kind in facts.unreadable:
        return f"what {name} reported cannot be read{_in_brackets(facts.unreadable[kind])}{sick}"
    if state is None or state.epoch != live.half_epoch(kind):
        return f"{name} has not taken the room yet{sick}"
    if state.status in {MixerStatus.PUBLISHING, JanusStatus.FORWARDING}:
        ill = kind is Kind.JANUS and facts.janus_ill
        return f"{name} is not well{sick}" if sick or ill else None
    words = {
        MixerStatus.STARTING: "waits for its first segment",
        MixerStatus.STARVED: "gets no sound from Janus",
        MixerStatus.FAILING: "cannot keep FFmpeg running",
        JanusStatus.ROOM_CREATED: "has the room, but does not forward it yet",
    }[state.status]
    return f"{name} {words}{_in_brackets(state.reason)}{sick}"


def _if_sick(fleet: Fleet, live: LiveMeta, kind: Kind, judged: Judged) -> str:
    """As it says of itself; what is held of it otherwise is in the sentences that follow."""
    if judged(kind, live.module(kind)).fitness is not Fitness.WELL:
        return ""
    module = fleet.get(kind, live.module(kind))
    return _in_brackets(module.unhealthy if module else None)


def _in_brackets(why: str | None) -> str:
    return f" ({why})" if why else ""

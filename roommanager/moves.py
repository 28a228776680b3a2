"""What livemeta says once a half of a room has another module. Pure; ``mover`` writes it."""

from typing import Any

from pkg.model import Endpoints, Epoch, Kind, LiveMeta, Previous
from roommanager.allocator import Place
from roommanager.facts import RoomFacts
from roommanager.plan import MoveMixer, Reassign


def reassigned(facts: RoomFacts, live: LiveMeta, place: Place, action: Reassign) -> LiveMeta:
    """The nonce, and thereby the key of the segments, stays: to listeners it is one time on air."""
    if action.kind is Kind.JANUS:
        return _with_janus(facts, live, place, action)
    before = live.previous
    dropped = before is None or before.mixer_id == place.module_id or _is_left(action, before)
    return _with_mixer(facts, live, place, action.why, None if dropped else before)


def moved(
    facts: RoomFacts, live: LiveMeta, place: Place, action: MoveMixer, endpoints: Endpoints
) -> LiveMeta:
    """``endpoints``: where the mixer that is left is reached."""
    before = Previous(
        mixer_id=live.mixer_id,
        epoch=live.mixer_epoch,
        slot=live.mixer_slot,
        seams=live.seams,
        endpoints=endpoints,
    )
    return _with_mixer(facts, live, place, action.why, before)


def _with_mixer(
    facts: RoomFacts, live: LiveMeta, place: Place, why: str, previous: Previous | None
) -> LiveMeta:
    changes = {
        "mixer_id": place.module_id,
        "mixer_slot": place.slot,
        "previous": previous,
        **_with_mixer_epoch(facts, live),
        **_told(live, place, why),
    }
    return live.model_copy(update=changes)


def _with_janus(facts: RoomFacts, live: LiveMeta, place: Place, action: Reassign) -> LiveMeta:
    epoch = Epoch(facts.revision)
    changes = {
        "janus_id": place.module_id,
        "janus_slot": place.slot,
        "janus_epoch": epoch,
        "epoch": epoch,
        **(_with_mixer_epoch(facts, live) if action.new_mixer_epoch else {}),
        **_told(live, place, action.why),
    }
    return live.model_copy(update=changes)


def _with_mixer_epoch(facts: RoomFacts, live: LiveMeta) -> dict[str, Any]:
    """Its first segment is a seam, and comes after all of the old epoch, if that was ever heard."""
    mixer, epoch = facts.mixer, Epoch(facts.revision)
    inside = mixer.seams if mixer and mixer.epoch == live.mixer_epoch else 0
    seams = live.seams + inside + 1 if live.on_air_at else live.seams
    return {"mixer_epoch": epoch, "epoch": epoch, "seams": seams}


def _told(live: LiveMeta, place: Place, why: str) -> dict[str, Any]:
    kind, old = place.kind, live.module(place.kind)
    return {
        "placed": {**live.placed, kind.value: f"{place.module_id}: {place.why}"},
        "moved": f"from {kind.value} {old} to {place.module_id}: {why}",
    }


def _is_left(action: Reassign, before: Previous) -> bool:
    return (Kind.MIXER, before.mixer_id) in action.left.dead

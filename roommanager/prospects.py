"""What becomes of a room whose modules are not well, or are to be emptied: in words.

Computed from facts each time, as ``status`` is; every sentence ends with a full stop.
"""

from collections.abc import Callable
from typing import TypeAlias

from pkg.model import Desired, Kind, LiveMeta, Mark, ModuleId
from pkg.schedule import refusal, refusals
from roommanager.facts import RoomFacts
from roommanager.fleet import Fleet
from roommanager.verdict import Fitness, Verdict

Judged: TypeAlias = Callable[[Kind, ModuleId], Verdict]


def prospects(facts: RoomFacts, fleet: Fleet, judged: Judged, *, on_air: bool) -> list[str]:
    """Nothing of a room that is well where it is, or that is not wanted on air."""
    live = facts.live
    if live is None or live.status is not Desired.ONAIR:
        return []
    found = [_of_half(live, kind, fleet, judged) for kind in Kind]
    found.append(_of_move(live, on_air=on_air))
    return [sentence for sentence in found if sentence]


def _of_half(live: LiveMeta, kind: Kind, fleet: Fleet, judged: Judged) -> str:
    module_id = live.module(kind)
    name, verdict = f"{kind.value} {module_id}", judged(kind, module_id)
    match verdict.fitness:
        case Fitness.WELL:
            return _of_drain(live, kind, fleet)
        case Fitness.UNSURE:
            return _sentence(f"{name}: {verdict.reason}; the room stays with it")
        case Fitness.DEAD | Fitness.ILL:
            words = f"{name} is {verdict.fitness.value}: {verdict.reason}"
            return _sentence(f"{words}; {_elsewhere(live, kind, fleet)}")


def _of_drain(live: LiveMeta, kind: Kind, fleet: Fleet) -> str:
    module = fleet.get(kind, live.module(kind))
    if module is None or module.mark is not Mark.DRAINING:
        return ""
    name = f"{kind.value} {module.module_id} is draining"
    if kind is Kind.MIXER:
        return _sentence(f"{name}; {_elsewhere(live, kind, fleet)}")
    until = f" or is moved at {module.deadline_at}" if module.deadline_at else ""
    return _sentence(f"{name}; the room stays there until it ends{until}")


def _elsewhere(live: LiveMeta, kind: Kind, fleet: Fleet) -> str:
    """Who could take the half; else each candidate's refusal."""
    others = [m.candidate() for m in fleet.of(kind) if m.module_id != live.module(kind)]
    if any(refusal(candidate) is None for candidate in others):
        return "the room is about to be moved to another one"
    each = ", ".join(f"{module}: {why}" for module, why in refusals(others).items())
    return f"no other {kind.value} can take the room" + (f" ({each})" if each else "")


def _of_move(live: LiveMeta, *, on_air: bool) -> str:
    if live.previous is None:
        return _sentence(f"it was last moved {live.moved}") if live.moved and not on_air else ""
    old, new = live.previous.mixer_id, live.mixer_id
    if on_air:
        return _sentence(f"it has moved from mixer {old} to {new}, which listeners go over to now")
    return _sentence(f"it is moving from mixer {old} to {new}; listeners hear {old} meanwhile")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

"""Decide what to do about one room. Pure: same facts, same answer; no I/O, clock or random."""

from dataclasses import dataclass
from typing import TypeAlias

from pkg.model import Desired
from roommanager.facts import RoomFacts
from roommanager.status import is_on_air


@dataclass(frozen=True, slots=True)
class MarkOnAir:
    """The room is on air for the first time since its start: write when."""


@dataclass(frozen=True, slots=True)
class FinishStop:
    """Both halves have ended: the room becomes idle; its last playlist is kept for a while."""

    keep_playlist: bool


@dataclass(frozen=True, slots=True)
class FinishRemove:
    """Both halves have ended: nothing of the room stays."""


Action: TypeAlias = MarkOnAir | FinishStop | FinishRemove


def plan(facts: RoomFacts) -> list[Action]:
    live = facts.live
    if live is None:
        return []
    if live.status is Desired.ONAIR:
        first = live.on_air_at is None and is_on_air(live, facts.janus, facts.mixer)
        return [MarkOnAir()] if first else []
    if facts.held or facts.janus is not None or facts.mixer is not None:
        return []
    if live.status is Desired.REMOVING:
        return [FinishRemove()]
    return [FinishStop(keep_playlist=live.on_air_at is not None)]

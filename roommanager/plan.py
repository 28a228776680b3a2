"""Decide what to do about one room. Pure: same facts, same answer; no I/O, clock or random.

The answer is a list by urgency: ``controller`` tries each until one has been carried out, for
each of them changes what the others were decided on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pkg.model import Desired, Kind, LiveMeta, Mark, MixerStatus, ModuleId
from roommanager.facts import Holding, RoomFacts
from roommanager.fleet import ModuleKey
from roommanager.status import is_fed, is_on_air
from roommanager.verdict import WELL, Fitness, Verdict

# For so long after a move the old mixer's segments are still fetched: 30 s, and a margin.
OLD_WINDOW_SECONDS = 35.0
UNFED_SECONDS = 15.0  # Janus not feeding the present mixer, its manager without a lease
FAILURES = 5  # of FFmpeg in a row, on one host


@dataclass(frozen=True, slots=True)
class Standing:
    """What is held of one module. ``overdue``: it is draining, and its deadline has passed."""

    verdict: Verdict = WELL
    mark: Mark = Mark.READY
    overdue: bool = False

    @property
    def is_dead(self) -> bool:
        return self.verdict.fitness is Fitness.DEAD

    @property
    def is_ill(self) -> bool:
        return self.verdict.fitness is Fitness.ILL


@dataclass(frozen=True, slots=True)
class Around:
    """What is known besides the room's keys, durations in seconds on this process's clock.

    ``modules``: those that the room's keys name. ``on_air_seconds``: on the present mixer;
    ``unfed_seconds``: Janus has not been feeding the present mixer. ``rest_seconds``: left until
    the room may be moved again from a living module. ``may_leave``: its mixer is draining and it
    is this room's turn. ``displaced``: halves that run where no place is left for them, and why.
    """

    modules: Mapping[ModuleKey, Standing] = field(default_factory=dict)
    on_air_seconds: float = 0.0
    unfed_seconds: float = 0.0
    rest_seconds: float = 0.0
    may_leave: bool = False
    displaced: Mapping[Kind, str] = field(default_factory=dict)

    def of(self, kind: Kind, module_id: ModuleId) -> Standing:
        return self.modules.get((kind, module_id), Standing())


@dataclass(frozen=True, slots=True)
class Left:
    """What dead modules left behind: places, and observed keys by kind. Deleted for them."""

    dead: frozenset[ModuleKey] = frozenset()
    places: tuple[Holding, ...] = ()
    observed: tuple[Kind, ...] = ()


NOTHING = Left()


@dataclass(frozen=True, slots=True)
class MarkOnAir:
    """The room is on air for the first time since its start: write when."""


@dataclass(frozen=True, slots=True)
class FinishStop:
    """Both halves have ended: the room becomes idle; its last playlist is kept for a while."""

    keep_playlist: bool
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class FinishRemove:
    """Both halves have ended: nothing of the room stays."""

    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class Reassign:
    """Give one half to another module; what ran on the present one counts no more.

    ``absent``: only if the present one still has no lease. ``new_mixer_epoch`` (of a Janus): the
    old one may still send to the mixer's port, so the same mixer begins anew on another.
    """

    kind: Kind
    why: str
    left: Left = NOTHING
    absent: bool = False
    new_mixer_epoch: bool = False


@dataclass(frozen=True, slots=True)
class MoveMixer:
    """Make before break: a second mixer takes the room, the present one goes on as ``previous``."""

    why: str


@dataclass(frozen=True, slots=True)
class DropPrevious:
    """Nobody needs the mixer that was replaced any more."""

    left: Left = NOTHING


Action: TypeAlias = MarkOnAir | FinishStop | FinishRemove | Reassign | MoveMixer | DropPrevious
ALONE = Around()


def plan(facts: RoomFacts, around: Around = ALONE) -> list[Action]:
    live = facts.live
    if live is None:
        return []
    if live.status is not Desired.ONAIR:
        return _end(facts, live, around)
    found = (
        _replace_mixer(facts, live, around),
        _replace_janus(facts, live, around),
        _go_on_moving(facts, live, around),
        _mark_on_air(facts, live),
    )
    return [action for action in found if action is not None]


def look_again_seconds(facts: RoomFacts, around: Around) -> float | None:
    """When another answer is due though nothing changes in etcd; None if never."""
    live = facts.live
    if live is None or live.status is not Desired.ONAIR:
        return None
    waits = []
    if around.rest_seconds > 0:
        waits.append(around.rest_seconds)
    if live.previous is not None and is_on_air(live, facts.janus, facts.mixer):
        waits.append(OLD_WINDOW_SECONDS - around.on_air_seconds)
    if around.of(Kind.JANUS, live.janus_id).verdict.answers and not is_fed(live, facts.janus):
        waits.append(UNFED_SECONDS - around.unfed_seconds)
    return min((wait for wait in waits if wait > 0), default=None)


# --- ending -------------------------------------------------------------------------------


def _end(facts: RoomFacts, live: LiveMeta, around: Around) -> list[Action]:
    """Once every module has ended its part; the dead have."""
    left = _left(facts, around, facts.held, tuple(Kind))
    living = set(facts.held) - set(left.places)
    if living or facts.reporters.keys() - set(left.observed):
        return []
    if live.status is Desired.REMOVING:
        return [FinishRemove(left)]
    return [FinishStop(live.on_air_at is not None, left)]


def _left(
    facts: RoomFacts, around: Around, held: tuple[Holding, ...], kinds: tuple[Kind, ...]
) -> Left:
    """Of these places and observed keys, those that belong to dead modules."""
    places = tuple(h for h in held if around.of(h.kind, h.module_id).is_dead)
    told = facts.reporters
    observed = tuple(k for k in kinds if k in told and around.of(k, told[k]).is_dead)
    dead = {(h.kind, h.module_id) for h in places} | {(k, told[k]) for k in observed}
    return Left(frozenset(dead), places, observed)


# --- replacing ----------------------------------------------------------------------------


def _replace_mixer(facts: RoomFacts, live: LiveMeta, around: Around) -> Reassign | None:
    standing = around.of(Kind.MIXER, live.mixer_id)
    if standing.is_dead:
        mine = tuple(h for h in facts.held if h.kind is Kind.MIXER)
        left = _left(facts, around, mine, (Kind.MIXER,))
        return Reassign(Kind.MIXER, standing.verdict.reason, left, absent=True)
    why = standing.verdict.reason if standing.is_ill else _hopeless(facts, live)
    why = why or around.displaced.get(Kind.MIXER)
    if why is None or around.rest_seconds > 0:
        return None
    return Reassign(Kind.MIXER, why)


def _hopeless(facts: RoomFacts, live: LiveMeta) -> str | None:
    """FFmpeg has failed so often on this host that another one is worth a try."""
    mixer = facts.mixer
    if mixer is None or mixer.epoch != live.mixer_epoch or mixer.status is not MixerStatus.FAILING:
        return None
    if mixer.failures < FAILURES:
        return None
    return f"its FFmpeg failed {FAILURES} times" + (f" ({mixer.reason})" if mixer.reason else "")


def _replace_janus(facts: RoomFacts, live: LiveMeta, around: Around) -> Reassign | None:
    standing = around.of(Kind.JANUS, live.janus_id)
    verdict = standing.verdict
    anew = not verdict.proven
    if standing.is_dead:
        mine = tuple(h for h in facts.held if h.kind is Kind.JANUS)
        left = _left(facts, around, mine, (Kind.JANUS,))
        return Reassign(Kind.JANUS, verdict.reason, left, absent=True, new_mixer_epoch=anew)
    if verdict.answers and not is_fed(live, facts.janus) and around.unfed_seconds >= UNFED_SECONDS:
        why = f"{verdict.reason}; nobody can move its forwarder"
        return Reassign(Kind.JANUS, why, absent=True, new_mixer_epoch=True)
    if around.rest_seconds > 0:
        return None
    if standing.is_ill:
        return Reassign(Kind.JANUS, verdict.reason, new_mixer_epoch=anew)
    overdue = "it is draining, and its deadline has passed" if standing.overdue else None
    leave = overdue or around.displaced.get(Kind.JANUS)
    if leave is None:
        return None
    return Reassign(Kind.JANUS, leave, new_mixer_epoch=True)


# --- make before break --------------------------------------------------------------------


def _go_on_moving(
    facts: RoomFacts, live: LiveMeta, around: Around
) -> MoveMixer | DropPrevious | None:
    before = live.previous
    if before is None:
        return MoveMixer("it is draining") if around.may_leave else None
    if around.of(Kind.MIXER, before.mixer_id).is_dead:
        held = tuple(h for h in facts.held if h.epoch == before.epoch and h.kind is Kind.MIXER)
        return DropPrevious(_left(facts, around, held, ()))
    on_air = is_on_air(live, facts.janus, facts.mixer)
    over = on_air and around.on_air_seconds >= OLD_WINDOW_SECONDS
    return DropPrevious() if over else None


def _mark_on_air(facts: RoomFacts, live: LiveMeta) -> MarkOnAir | None:
    first = live.on_air_at is None and is_on_air(live, facts.janus, facts.mixer)
    return MarkOnAir() if first else None

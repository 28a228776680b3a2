"""Decide what to do about one room's FFmpeg. Pure: same facts, same answer.

One process for the wanted epoch, none for any other; what it publishes is reported; a place is
given back once nothing of its epoch runs any more. Folders outlive their process only while the
room is stopping or its last playlist is still offered (``ended``). An epoch that is ``leaving``
(another mixer takes over, make before break) stays as it is, whatever that is.
"""

from dataclasses import dataclass
from typing import TypeAlias

from mixer.api import Running
from mixer.health import Health
from pkg.assignments import Assigned
from pkg.model import Desired, Endpoints, Epoch, LiveMeta, MixerState, MixerStatus, ModuleId


@dataclass(frozen=True, slots=True)
class Self:
    """What a report says of this mixer besides the room's own state."""

    mixer_id: ModuleId
    ip: str
    endpoints: Endpoints


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one room here, at one moment.

    ``health`` is of the wanted epoch's ``current`` process, or of why there is none.
    ``may_spawn``: its backoff is over. ``ended``: epochs whose last playlist is offered still.
    ``lost``: nobody wanted what is here, for long enough to believe it. ``failures`` and
    ``seams`` of the wanted epoch are as in ``MixerState``.
    """

    assigned: Assigned
    running: tuple[Running, ...]
    folders: frozenset[Epoch]
    ended: frozenset[Epoch]
    observed: MixerState | None
    health: Health | None
    may_spawn: bool
    lost: bool
    failures: int = 0
    seams: int = 0


@dataclass(frozen=True, slots=True)
class StopMix:
    running: Running
    failed: str | None = None  # why it is to be replaced; None: it is not wanted any more


@dataclass(frozen=True, slots=True)
class StartMix:
    """``failures`` and ``seams`` so far are told with a new port."""

    epoch: Epoch
    port: int | None  # the one it had before it ended, to which Janus still sends
    failures: int = 0
    seams: int = 0


@dataclass(frozen=True, slots=True)
class ForgetKey:
    """Delete the epoch's secrets and logs, keep what listeners may still fetch."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class RemoveFolder:
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Report:
    state: MixerState


@dataclass(frozen=True, slots=True)
class Withdraw:
    epochs: frozenset[Epoch]


Action: TypeAlias = StopMix | StartMix | ForgetKey | RemoveFolder | Report | Withdraw


def plan(facts: Facts, me: Self) -> list[Action]:
    """What to do now; the caller looks again afterwards. Ending comes before beginning."""
    ending = _stops(facts)
    if ending:
        return list(ending)
    begin = _start(facts) or _report(facts, me)  # what is true once it runs shows at the next look
    return [*_clean(facts), *_withdraw(facts, me), *begin]


def _stops(facts: Facts) -> list[StopMix]:
    stops = [StopMix(running) for running in facts.running if _must_end(facts, running.epoch)]
    mine = _current(facts)
    if mine is not None and facts.health and facts.health.status is MixerStatus.FAILING:
        stops.append(StopMix(mine, failed=facts.health.reason or "not healthy"))
    twins = [r for r in facts.running if r.epoch == facts.assigned.wanted and r is not mine]
    return stops + [StopMix(twin) for twin in twins]


def _must_end(facts: Facts, epoch: Epoch) -> bool:
    """An epoch without a place is ended on proof, or when nobody spoke for it for long."""
    if epoch in (facts.assigned.wanted, facts.assigned.leaving):
        return False
    return facts.assigned.holds(epoch) or _is_over(facts.assigned.live, epoch) or facts.lost


def _is_over(live: LiveMeta | None, epoch: Epoch) -> bool:
    """Epochs only rise, so a higher one ends all before it."""
    if live is None:
        return False
    ending = live.mixer_epoch == epoch and live.status is not Desired.ONAIR
    return ending or live.mixer_epoch > epoch


def _current(facts: Facts) -> Running | None:
    return current(facts.running, facts.assigned.wanted, facts.observed)


def current(
    running: tuple[Running, ...], wanted: Epoch | None, observed: MixerState | None
) -> Running | None:
    """The wanted epoch's process; of several (they cannot share a port), the reported one."""
    port = observed.port if observed else None
    found = [r for r in running if r.epoch == wanted]
    return min(found, key=lambda r: (r.port != port, r.started, r.pid), default=None)


def _clean(facts: Facts) -> list[Action]:
    alive = {r.epoch for r in facts.running} | {facts.assigned.wanted, facts.assigned.leaving}
    kept = facts.ended | facts.assigned.keep
    over = sorted(epoch for epoch in facts.folders if epoch not in alive)
    unwanted = [e for e in over if e not in kept and (_told_to_end(facts, e) or facts.lost)]
    ending = [e for e in over if e in kept and facts.assigned.holds(e)]
    return [*(ForgetKey(e) for e in ending), *(RemoveFolder(e) for e in unwanted)]


def _told_to_end(facts: Facts, epoch: Epoch) -> bool:
    """The room is being removed, or has a newer epoch: not merely "no word of it" yet."""
    live = facts.assigned.live
    if live is None or not facts.assigned.holds(epoch):
        return False
    return live.status is Desired.REMOVING or live.mixer_epoch != epoch


def _withdraw(facts: Facts, me: Self) -> list[Action]:
    """Epochs that hold a place, or are told of in our key, but neither run nor should.

    Where one is wanted, its report will replace an older one.
    """
    wanted, observed = facts.assigned.wanted, facts.observed
    told = {held.epoch for held in facts.assigned.held}
    if wanted is None and observed is not None and observed.mixer_id == me.mixer_id:
        told.add(observed.epoch)
    done = frozenset(told - {r.epoch for r in facts.running} - {wanted, facts.assigned.leaving})
    return [Withdraw(done)] if done else []


def _start(facts: Facts) -> list[Action]:
    wanted = facts.assigned.wanted
    if wanted is None or _current(facts) is not None or not facts.may_spawn:
        return []
    observed = facts.observed
    same = observed is not None and observed.epoch == wanted and observed.port > 0
    port = observed.port if observed and same else None
    return [StartMix(wanted, port, facts.failures, facts.seams)]


def starting(me: Self, epoch: Epoch, port: int, failures: int = 0, seams: int = 0) -> MixerState:
    """What is reported of a process that is being started."""
    return MixerState(
        mixer_id=me.mixer_id,
        ip=me.ip,
        port=port,
        status=MixerStatus.STARTING,
        epoch=epoch,
        endpoints=me.endpoints,
        failures=failures,
        seams=seams,
    )


def _report(facts: Facts, me: Self) -> list[Action]:
    """Only what differs from what stands there: nothing is written while nothing changes."""
    wanted, health, observed = facts.assigned.wanted, facts.health, facts.observed
    if wanted is None or health is None:
        return []
    mine = _current(facts)
    before = observed.port if observed and observed.epoch == wanted else 0
    state = starting(
        me, wanted, mine.port if mine else before, facts.failures, facts.seams
    ).model_copy(update={"status": health.status, "reason": health.reason})
    return [] if observed is not None and _is_told(state, observed) else [Report(state)]


def _is_told(state: MixerState, observed: MixerState) -> bool:
    """How often FFmpeg failed is news only while it fails."""
    if state.status is MixerStatus.FAILING:
        return state == observed
    return state == observed.model_copy(update={"failures": state.failures})

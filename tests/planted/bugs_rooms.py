"""Bugs in the room manager: placing, moving and ending rooms, keeping house."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from pkg import schedule
from pkg.etcd.api import Compare, CreatedIs, Delete, Etcd, ModIs, Op, commit
from pkg.model import Kind, LiveMeta, Mark
from roommanager import allocator, execute, housekeeping, moves, plan, verdict, vigil
from roommanager.allocator import Allocator, Place
from roommanager.facts import RoomFacts
from roommanager.findings import find
from roommanager.housekeeping import Belief
from roommanager.pace import Rests
from roommanager.plan import Action, Around, Left, Reassign
from roommanager.surroundings import Surroundings
from roommanager.verdict import Fitness, Signs, Verdict
from tests.planted.planting import Bug, Swap, plain, scenario
from tests.planted.scenarios import (
    a_move_that_etcd_cuts_short_loses_no_room,
    nothing_is_left_over_in_an_outage,
)
from tests.planted.stories import few_places, hosts_die
from tests.unit import (
    test_drain,
    test_failover,
    test_failover_ends,
    test_failover_janus,
    test_failover_races,
    test_housekeeping,
    test_wishes,
)

TAKING, CLEAR, END = execute.taking, execute._clear, plan._end
Txn = tuple[list[Compare], list[Op]]
Taking = Callable[[RoomFacts, LiveMeta, Mapping[Kind, Place]], Txn]


# -- placing ---------------------------------------------------------------------------------


def taking_without(left_out: Callable[[Compare], bool]) -> Taking:
    def taking(facts: RoomFacts, live: LiveMeta, places: Mapping[Kind, Place]) -> Txn:
        compares, ops = TAKING(facts, live, places)
        return [compare for compare in compares if not left_out(compare)], ops

    return taking


def of_leaf(leaf: str) -> Callable[[Compare], bool]:
    return lambda compare: isinstance(compare, ModIs) and compare.key.endswith(f"/{leaf}")


def full_or_not(candidate: schedule.Candidate) -> str | None:
    if candidate.unhealthy is not None:
        return candidate.unhealthy
    return None if candidate.mark is Mark.READY else "marked"


def one_more(_self: Allocator, _capacity: int, taken: Collection[int]) -> int:
    return next(n for n in range(len(taken) + 1) if n not in taken)


# -- moving ----------------------------------------------------------------------------------


async def in_two_steps(
    etcd: Etcd,
    facts: RoomFacts,
    live: LiveMeta,
    place: Place,
    action: Reassign,
    _lost: Place | None,
) -> int:
    """First the old assignment goes, then the new one comes."""
    key = f"/rooms/{facts.room_id}/livemeta"
    compares: list[Compare] = [ModIs(key, facts.live_revision)]
    ops: list[Op] = [Delete(key)]
    CLEAR(facts, action.left, compares, ops)
    await commit(etcd, compares, ops)
    return await commit(etcd, *TAKING(replace(facts, live_revision=0), live, {place.kind: place}))


def clear_nothing(*_: object) -> None:
    return None


def clear_unasked(facts: RoomFacts, left: Left, compares: list[Compare], ops: list[Op]) -> None:
    """Without asking whether its lease is still gone."""
    CLEAR(facts, replace(left, dead=frozenset()), compares, ops)


REASSIGN = execute.reassign


async def reassign_unasked(
    etcd: Etcd,
    facts: RoomFacts,
    live: LiveMeta,
    place: Place,
    action: Reassign,
    lost: Place | None,
) -> int:
    return await REASSIGN(etcd, facts, live, place, replace(action, absent=False), lost)


def same_epoch(_facts: RoomFacts, live: LiveMeta) -> dict[str, Any]:
    return {"mixer_epoch": live.mixer_epoch, "epoch": live.epoch, "seams": live.seams + 1}


EPOCH = moves._with_mixer_epoch


def no_seam(facts: RoomFacts, live: LiveMeta) -> dict[str, Any]:
    return {**EPOCH(facts, live), "seams": live.seams}


REPLACE_JANUS = plan._replace_janus


def keep_the_port(facts: RoomFacts, live: LiveMeta, around: Around) -> Reassign | None:
    found = REPLACE_JANUS(facts, live, around)
    return None if found is None else replace(found, new_mixer_epoch=False)


def end_without_previous(facts: RoomFacts, live: LiveMeta, around: Around) -> list[Action]:
    before = live.previous.epoch if live.previous else None
    held = tuple(h for h in facts.held if h.epoch != before)
    return END(replace(facts, held=held), live, around)


# -- judging modules -------------------------------------------------------------------------


def gone_is_dead(signs: Signs) -> Verdict:
    """Nobody is asked directly."""
    if signs.gone_seconds is None or signs.held:
        return verdict.judge(signs)
    return Verdict(Fitness.DEAD, "its lease is gone")


def one_sweep(self: Belief, found: frozenset[Any]) -> frozenset[Any]:
    known, self.held = self.held, found
    return found - known


BUGS = (
    Bug(
        "a place is claimed without CreatedIs",
        "I2",
        (Swap(execute, "taking", taking_without(lambda c: isinstance(c, CreatedIs))),),
        ((scenario(test_wishes.test_200_starts_at_two_managers_for_20_places),)),
    ),
    Bug(
        "the heartbeat is not compared when a room is placed",
        "I2 (no new work on a module that is gone)",
        (Swap(execute, "taking", taking_without(of_leaf("heartbeat"))),),
        (
            scenario(
                test_wishes.test_nothing_lands_on_a_mixer_that_drained_or_died_meanwhile,
                word="die",
            ),
            scenario(
                test_failover_races.test_the_one_that_was_chosen_takes_no_rooms_any_more,
                word="ill",
            ),
        ),
    ),
    Bug(
        "the mark is not compared when a room is placed",
        "I2 (no new work on a module that drains)",
        (Swap(execute, "taking", taking_without(of_leaf("mark"))),),
        (
            scenario(
                test_wishes.test_nothing_lands_on_a_mixer_that_drained_or_died_meanwhile,
                word="drain",
            ),
        ),
    ),
    Bug(
        "livemeta is not compared when a room is placed or moved",
        "I3",
        (Swap(execute, "taking", taking_without(of_leaf("livemeta"))),),
        ((scenario(test_failover_races.test_the_room_is_stopped),)),
    ),
    Bug(
        "meta is not compared when a room is placed",
        "I3 (an old decision may land)",
        (Swap(execute, "taking", taking_without(of_leaf("meta"))),),
        (scenario(test_wishes.test_epochs_rise_on_a_stale_copy_too, end="stop"),),
    ),
    Bug(
        "two-step reassign: the old assignment goes, then the new one comes",
        "I8",
        (Swap(execute, "reassign", in_two_steps),),
        ((scenario(a_move_that_etcd_cuts_short_loses_no_room),)),
    ),
    Bug(
        "a room is moved though its module's lease is back",
        "I3 (nobody living is taken for dead)",
        (
            Swap(execute, "reassign", reassign_unasked),
            Swap(execute, "_clear", clear_unasked),
        ),
        (scenario(test_failover_races.test_it_comes_back),),
    ),
    Bug(
        "a dead module's place is not freed",
        "I5",
        (Swap(execute, "_clear", clear_nothing),),
        (
            scenario(
                test_failover.test_a_dead_mixers_room_is_on_air_elsewhere_at_once,
                answer=verdict.Answer.REFUSED,
                probing=0.31,
                managers=1,
            ),
        ),
    ),
    Bug(
        "the epoch does not rise with a new mixer",
        "I3",
        (Swap(moves, "_with_mixer_epoch", same_epoch),),
        (
            scenario(
                test_failover.test_a_dead_mixers_room_is_on_air_elsewhere_at_once,
                answer=verdict.Answer.REFUSED,
                probing=0.31,
                managers=1,
            ),
            hosts_die,
        ),
    ),
    Bug(
        "a move is not counted as a seam",
        "RFC 8216 (discontinuities are numbered)",
        (Swap(moves, "_with_mixer_epoch", no_seam),),
        (scenario(test_failover.test_lost_answers_move_it_once),),
    ),
    Bug(
        "the port of a Janus that is silent is used by the next",
        "I6 (two Januses feed one FFmpeg)",
        (Swap(plan, "_replace_janus", keep_the_port),),
        (scenario(test_failover_janus.test_of_a_silent_janus_the_mixer_begins_anew_in_its_place),),
    ),
    Bug(
        "no mass-loss rule",
        "I9 (etcd's trouble moves nothing)",
        (Swap(vigil, "is_mass_loss", lambda *_: False),),
        (scenario(test_failover.test_what_vanishes_together_is_left_alone),),
    ),
    Bug(
        "after a mass loss rooms move as fast as ever",
        "I9 (etcd's trouble moves little)",
        (Swap(vigil.Vigil, "is_careful", lambda *_: False),),
        (scenario(test_failover.test_after_a_mass_loss_the_dead_are_left_slowly),),
    ),
    Bug(
        "no probe before a module is called dead",
        "I9 (a lost lease moves nothing)",
        (Swap(vigil, "judge", gone_is_dead),),
        (scenario(test_failover.test_a_mixer_that_answers_keeps_its_room_for_fifteen_minutes),),
    ),
    Bug(
        "one refused probe is proof",
        "I9",
        (Swap(verdict, "REFUSALS", 1),),
        (scenario(test_failover.test_one_refusal_is_no_proof),),
    ),
    Bug(
        "who says it is unhealthy is left at once",
        "I14 (a moment's trouble moves nothing)",
        (Swap(verdict, "ILL_SECONDS", 0.0),),
        (scenario(test_failover_ends.test_a_mixer_that_is_well_again_in_time_keeps_its_room),),
    ),
    Bug(
        "a room that fails everywhere wanders without rest",
        "I14 (a bounded number of moves)",
        (Swap(Rests, "seconds_left", lambda *_: 0.0),),
        (
            scenario(
                test_failover_ends.test_a_room_that_fails_everywhere_wanders_ever_more_slowly,
                managers=2,
            ),
        ),
    ),
    Bug(
        "a stop does not wait for the mixer that was being replaced",
        "I7",
        (Swap(plan, "_end", end_without_previous),),
        ((scenario(test_drain.test_stopping_in_the_midst_waits_for_both_mixers),)),
    ),
    Bug(
        "a drain moves all rooms at once",
        "I12 (each is on air before the next leaves)",
        (Swap(Surroundings, "_in_transit", lambda *_: False),),
        (
            scenario(
                test_drain.test_ten_rooms_leave_one_by_one_and_none_is_left_before_it_is_on_air,
                managers=1,
            ),
        ),
    ),
    Bug(
        "a drain fills a mixer that is full",
        "I2",
        (
            Swap(schedule, "refusal", full_or_not),
            Swap(allocator, "refusal", full_or_not),
            Swap(Allocator, "_free", one_more),
        ),
        (
            (
                scenario(test_drain.test_who_finds_no_place_waits_until_there_is_one),
                few_places,
            )
        ),
    ),
    Bug(
        "the mixer that is replaced is dropped as soon as the new one is on air",
        "I12 (its listed segments stay for 30 s)",
        (Swap(plan, "OLD_WINDOW_SECONDS", 0.0),),
        (
            scenario(
                test_drain.test_ten_rooms_leave_one_by_one_and_none_is_left_before_it_is_on_air,
                managers=1,
            ),
        ),
    ),
    Bug(
        "one sweep is enough to believe that something is left over",
        "I9",
        (Swap(Belief, "take", one_sweep),),
        (plain(test_housekeeping.test_two_sweeps_in_a_row_must_find_the_same),),
    ),
    Bug(
        "leftovers are believed from a copy that may be old",
        "I9",
        (Swap(housekeeping, "look", find),),
        (scenario(nothing_is_left_over_in_an_outage),),
    ),
)

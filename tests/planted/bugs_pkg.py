"""Bugs in what all daemons share: leases, copies of etcd, guarded writes, waits."""

import random
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

from pkg import assignments, backoff, heartbeat, informer
from pkg.errors import TransientError
from pkg.etcd import api
from pkg.etcd.api import AmbiguousError, Compare, ConflictError, Etcd, NoneUnder, Op, Snapshot
from pkg.etcd.seen import Seen
from pkg.informer import Informer
from roommanager import execute
from tests.planted.planting import Bug, Swap, scenario
from tests.planted.scenarios import (
    lost_answers_to_users_are_read_back,
    what_is_written_between_list_and_watch_is_seen,
)
from tests.planted.stories import lost_answers
from tests.unit import (
    test_assignments,
    test_heartbeat,
    test_informer,
    test_janus_controller,
    test_janus_lag,
    test_mixer_controller,
    test_mixer_leaving,
)

RETRY_SECONDS = 0.05
Writes = Sequence[Op]


# -- leases ----------------------------------------------------------------------------------


async def renew_for_ever(etcd: Etcd, lease: int, ttl: int, _sent: float) -> None:
    """Until etcd says that the lease is gone; if it says nothing, for ever."""
    while await heartbeat._renew(etcd, lease) is not None:
        await anyio.sleep(ttl / 3)


async def renewed_when_answered(etcd: Etcd, lease: int) -> float | None:
    sent = await RENEW(etcd, lease)
    return None if sent is None else anyio.current_time()


RENEW = heartbeat._renew


async def any_answer_is_good(etcd: Etcd, lease: int) -> float:
    while True:
        sent = anyio.current_time()
        try:
            await etcd.keep_alive(lease)
        except TransientError:
            await anyio.sleep(heartbeat.RETRY_SECONDS)
        else:
            return sent


# -- guarded writes --------------------------------------------------------------------------


def any_wish(*_: object) -> Compare:
    return NoneUnder("/nowhere/")


async def no_withdrawal(*_: object) -> None:
    await anyio.lowlevel.checkpoint()


async def sent_again(etcd: Etcd, compares: Sequence[Compare], then: Writes) -> int:
    try:
        return await api.commit(etcd, compares, then)
    except AmbiguousError:
        return await api.commit(etcd, compares, then)


async def perhaps_is_no(etcd: Etcd, compares: Sequence[Compare], then: Writes) -> int:
    try:
        return await api.commit(etcd, compares, then)
    except AmbiguousError as error:
        raise ConflictError(str(error)) from None


# -- copies of etcd --------------------------------------------------------------------------


async def list_then_watch(self: Informer, found: informer._Range) -> None:
    """What was written between the two is never seen."""
    self._swap(found, await self._etcd.range(found.prefix))
    async with self._etcd.watch(found.prefix, since=None) as batches:
        async for batch in batches:
            self._apply(found, batch)


SWAP, LOST = Informer._swap, Informer._lost


def tell_what_is_there(self: Informer, found: informer._Range, snapshot: Snapshot) -> None:
    """Nobody hears of what vanished while the watch was broken."""
    vanished = found.items.keys() - {kv.key for kv in snapshot.kvs}
    found.items = {key: kv for key, kv in found.items.items() if key not in vanished}
    SWAP(self, found, snapshot)


def no_answer_is_nothing(self: Informer, found: informer._Range, error: Any) -> None:
    """A list that failed is taken for an empty one."""
    LOST(self, found, error)
    if found.listed:
        SWAP(self, found, Snapshot(found.revision + 1, ()))


def hardly_any_wait(_failures: int, _rng: random.Random, **_: float) -> float:
    return RETRY_SECONDS


BUGS = (
    Bug(
        "no deadline: a lease is held until etcd says that it is over",
        "I4 (a lease's deadline is on our own clock)",
        (Swap(heartbeat, "_renew_until_lost", renew_for_ever),),
        (scenario(test_heartbeat.test_the_block_ends_no_later_than_the_lease, life=60.0),),
    ),
    Bug(
        "the deadline counts from the answer, not from when the renewal was sent",
        "I4 (a lease's deadline is on our own clock)",
        (Swap(heartbeat, "_renew", renewed_when_answered),),
        (scenario(test_heartbeat.test_the_deadline_counts_from_when_the_renewal_was_sent),),
    ),
    Bug(
        "TTL 0 in an answer is ignored",
        "I4 (a lease that etcd forgot is over)",
        (Swap(heartbeat, "_renew", any_answer_is_good),),
        (scenario(test_heartbeat.test_a_lease_that_etcd_forgot_is_lost_at_once),),
    ),
    Bug(
        "a module id is taken over from a holder who lives",
        "I1",
        (Swap(heartbeat, "is_gone", lambda *_: True),),
        (
            scenario(
                test_heartbeat.test_a_second_module_of_the_same_id_refuses_after_a_ttl, life=60.0
            ),
        ),
    ),
    Bug(
        "no compare on livemeta when a module reports or withdraws",
        "I4",
        (Swap(assignments.Assignments, "_live", any_wish),),
        (scenario(test_assignments.test_a_report_lands_only_while_the_wish_stands),),
    ),
    Bug(
        "no compare on the module's own place when it reports",
        "I4",
        (Swap(assignments.Assignments, "_places", lambda *_: []),),
        (scenario(test_assignments.test_a_report_lands_only_while_the_place_is_held),),
    ),
    Bug(
        "a module never gives a place back",
        "I5, I7",
        (Swap(assignments.Assignments, "withdraw", no_withdrawal),),
        (
            scenario(test_mixer_controller.test_removing_deletes_at_once),
            scenario(test_janus_controller.test_stop_frees_the_place_and_the_key),
        ),
    ),
    Bug(
        "a write of unknown outcome is sent again",
        "I8, I13",
        (Swap(execute, "commit", sent_again),),
        (
            (
                scenario(lost_answers_to_users_are_read_back),
                lost_answers,
            )
        ),
    ),
    Bug(
        "a write of unknown outcome is taken for a failed one",
        "I8, I13",
        (Swap(execute, "commit", perhaps_is_no),),
        ((scenario(lost_answers_to_users_are_read_back),)),
    ),
    Bug(
        "watch without start revision: listed, then watched from now on",
        "I14 (a copy equals etcd in the end)",
        (Swap(Informer, "_list_and_watch", list_then_watch),),
        ((scenario(what_is_written_between_list_and_watch_is_seen),)),
    ),
    Bug(
        "after a break nobody is told what vanished meanwhile",
        "I14 (listeners hear of every key)",
        (Swap(Informer, "_swap", tell_what_is_there),),
        (scenario(test_informer.test_what_was_deleted_in_an_outage_is_told),),
    ),
    Bug(
        "delete on failed list: absence is believed without an answer",
        "I9",
        (Swap(Informer, "_lost", no_answer_is_nothing),),
        (
            scenario(test_informer.test_what_was_deleted_in_an_outage_is_told),
            scenario(test_mixer_controller.test_ten_minutes_without_etcd_stop_nothing),
        ),
    ),
    Bug(
        "an etcd that went back (restored, emptied) is believed",
        "I9",
        (Swap(Seen, "judge", lambda *_: None),),
        (scenario(test_informer.test_an_etcd_that_went_back_is_not_believed),),
    ),
    Bug(
        "a place is acted on before its wish can be seen",
        "I5",
        (Swap(Informer, "revision", lambda *_: 2**60),),
        (scenario(test_janus_lag.test_a_fresh_place_waits_for_its_wish),),
    ),
    Bug(
        "break before make: the mixer that is being replaced ends at once",
        "I12 (it serves until the new one can)",
        (Swap(assignments.Assignments, "_replaced", lambda *_: None),),
        (scenario(test_mixer_leaving.test_what_leaves_stays_as_it_is_until_it_is_dropped),),
    ),
    Bug(
        "no backoff",
        "I14 (a bounded number of tries)",
        (Swap(backoff, "delay", hardly_any_wait),),
        (
            scenario(
                test_informer.test_a_watch_that_breaks_at_once_each_time_does_not_list_in_a_storm
            ),
        ),
    ),
)

"""Bugs in the Janus manager, the mixer, and what listeners get."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import anyio.lowlevel
import trio

from janusmanager import execute as janus_execute
from janusmanager import messages
from janusmanager import plan as janus_plan
from janusmanager.api import (
    Forwarder,
    JanusUnavailableError,
    Marker,
    RoomNumberTakenError,
)
from janusmanager.housekeeping import Housekeeping as JanusHousekeeping
from janusmanager.inventory import Inventory as JanusInventory
from janusmanager.messages import forwarder_ssrc, room_number
from janusmanager.plan import Action, Facts, Forward, Present, Self, StopForward
from mixer import controller as mixer_controller
from mixer import execute as mixer_execute
from mixer import process
from mixer.api import Running
from mixer.controller import MixerController
from mixer.ports import Ports
from mixer.restarts import Restarts
from pkg.model import LiveMeta, RoomId
from pkg.secrets import host_pin
from roommanager import hls, playlist
from roommanager.segments import Segments
from roommanager.sources import Air, Source
from tests.planted.planting import Bug, Swap, plain, scenario
from tests.planted.scenarios import (
    a_crash_loop_starts_few_processes,
    a_pid_that_changed_hands_is_a_stranger,
    a_place_is_given_back_after_its_process_ended,
)
from tests.unit import (
    test_hls_moves,
    test_hls_prefetch,
    test_janus_controller,
    test_janus_housekeeping,
    test_janus_moves,
    test_mixer_controller,
    test_mixer_repairs,
    test_mixer_supervision,
)

FEED, SURPLUS = janus_plan._feed, janus_plan._surplus
RELIST, REFRESH = JanusInventory.relist, JanusInventory.refresh


# -- Janus -----------------------------------------------------------------------------------


def surplus_with_previous(live: LiveMeta, room: Present, right: Forwarder) -> list[Forwarder]:
    return SURPLUS(live.model_copy(update={"previous": None}), room, right)


def stop_then_feed(facts: Facts, me: Self, live: LiveMeta, room: Present) -> list[Action]:
    """What feeds former mixers ends before the present one is fed."""
    actions = FEED(facts, me, live, room)
    ssrc = forwarder_ssrc(live.room_id, live.mixer_epoch)
    if any(isinstance(action, Forward) for action in actions):
        former = [f for f in janus_plan._ours(live.room_id, room) if f.ssrc != ssrc]
        stops = [StopForward(room.number, room.epoch, f.stream_id) for f in former]
        return [*stops, *actions]
    return actions


async def no_list_is_an_empty_one(self: JanusInventory) -> None:
    try:
        await RELIST(self)
    except JanusUnavailableError:
        self._rooms.clear()


async def no_answer_is_an_empty_one(self: JanusInventory, room_id: RoomId) -> None:
    try:
        await REFRESH(self, room_id)
    except JanusUnavailableError:
        self._rooms.pop(room_id, None)
        self._doubted.discard(room_id)


async def sweep_once(self: JanusHousekeeping) -> None:
    await self._janus.inventory.relist()
    self._janus.orphans = self._find_strays()
    self._janus.enqueue_all()


def strays_of_any_etcd(self: JanusHousekeeping) -> frozenset[Any]:
    """Whoever has no place is a stray, in whatever etcd."""
    inventory, assignments = self._janus.inventory, self._janus.assignments
    return frozenset(
        (room_id, room.epoch)
        for room_id in inventory.rooms()
        for room in inventory.present(room_id)
        if room.epoch not in {place.epoch for place in assignments.held(room_id)}
    )


async def take_any_number(tools: Any, room_id: RoomId, epoch: Any, secret: str) -> None:
    """A room that is there already must be ours."""
    marker = Marker(tools.module_id, room_id, epoch)
    number = room_number(marker)
    pin = host_pin(tools.master, room_id, epoch)
    with suppress(RoomNumberTakenError):
        await tools.janus.create_room(marker, number, pin, secret)
    tools.inventory.put(room_id, Present(number, epoch))


# -- mixer -----------------------------------------------------------------------------------


async def stop_and_forget(tools: Any, running: Running, failed: str | None) -> None:
    """Place and port are free before the process is."""
    trio.lowlevel.spawn_system_task(tools.processes.stop, running)
    tools.inventory.remove(running)
    await anyio.lowlevel.checkpoint()


def first_pair(self: Ports, _in_use: Collection[int], _now: float) -> int:
    return next(port for port in self._all if port not in self._reserved)


async def sweep_what_is_remembered(self: MixerController) -> None:
    """What runs is not listed, so nothing is adopted."""
    self.inventory.listed_folders(await self._folders.list_folders())
    for room_id in sorted(self.inventory.rooms() | self.assignments.rooms()):
        self.assignments.follow(room_id)
        self.queue.add(room_id)


# -- playlists -------------------------------------------------------------------------------


def any_epoch(self: Air, _epoch: int) -> list[Source]:
    return [source for source in (self.present, self.previous) if source]


BEGUN = playlist._begun_before


BUGS = (
    Bug(
        "retry forward without list: neither the room nor its forwarders are looked at again",
        "I5 (one forwarder)",
        (
            Swap(messages, "match_forwarders", lambda *_: (None, ())),
            Swap(JanusInventory, "doubt", lambda *_: None),
        ),
        (
            scenario(
                test_janus_controller.test_a_forward_whose_answer_is_lost_makes_one_forwarder,
                executed=True,
            ),
        ),
    ),
    Bug(
        "the forwarder to the former mixer stays",
        "I5 (one forwarder)",
        (Swap(janus_plan, "_surplus", lambda *_: []),),
        (scenario(test_janus_moves.test_another_epoch_of_the_same_mixer_is_another_forwarder),),
    ),
    Bug(
        "break before make: the forwarder to `previous` ends when the new one stands",
        "I12 (the old mixer is fed until it is dropped)",
        (Swap(janus_plan, "_surplus", surplus_with_previous),),
        (scenario(test_janus_controller.test_mixers_are_swapped_make_before_break),),
    ),
    Bug(
        "the old forwarder ends before the new one stands",
        "I9 (nothing is broken until it can be replaced)",
        (Swap(janus_plan, "_feed", stop_then_feed),),
        (scenario(test_janus_moves.test_the_new_forwarder_stands_before_the_old_one_ends),),
    ),
    Bug(
        "delete on failed list: a Janus that does not answer has no rooms",
        "I5, I9",
        (
            Swap(JanusInventory, "relist", no_list_is_an_empty_one),
            Swap(JanusInventory, "refresh", no_answer_is_an_empty_one),
        ),
        (scenario(test_janus_controller.test_stopped_while_janus_is_down_it_keeps_its_place),),
    ),
    Bug(
        "one sweep is enough to destroy an AudioBridge room without a place",
        "I9",
        (Swap(JanusHousekeeping, "sweep", sweep_once),),
        (
            scenario(
                test_janus_housekeeping.test_unknown_rooms_end_after_two_sweeps_and_strangers_never
            ),
        ),
    ),
    Bug(
        "housekeeping destroys the rooms that an empty etcd does not know",
        "I9",
        (Swap(JanusHousekeeping, "_find_strays", strays_of_any_etcd),),
        (scenario(test_janus_housekeeping.test_an_etcd_younger_than_a_room_is_not_believed),),
    ),
    Bug(
        "a room under our number is taken for ours",
        "I10",
        (Swap(janus_execute, "_create", take_any_number),),
        (scenario(test_janus_controller.test_a_number_that_is_taken_is_left_alone),),
    ),
    Bug(
        "release port before reap: place and port are free while FFmpeg still runs",
        "I2, I6",
        (Swap(mixer_execute, "_stop", stop_and_forget),),
        ((scenario(a_place_is_given_back_after_its_process_ended),)),
    ),
    Bug(
        "a port is taken without looking who has it",
        "I6",
        (Swap(Ports, "_pick", first_pair),),
        ((scenario(test_mixer_controller.test_many_rooms_share_no_port),)),
    ),
    Bug(
        "a port that was used is used again at once, and nobody listens first",
        "I6 (another room's sound)",
        (
            Swap(Ports, "rest", lambda *_: None),
            Swap(Ports, "is_unused", lambda *_: True),
        ),
        (scenario(test_mixer_repairs.test_the_port_of_a_process_that_died_rests_too),),
    ),
    Bug(
        "a process is known by its pid, without its start time",
        "I10",
        (Swap(process, "is_alive", lambda pid, _started: process.seen(pid) is not None),),
        (plain(a_pid_that_changed_hands_is_a_stranger),),
    ),
    Bug(
        "FFmpeg is started again without waiting, however often it failed",
        "I14 (a bounded number of tries)",
        (Swap(Restarts, "wait", lambda *_: 0.0),),
        (scenario(a_crash_loop_starts_few_processes),),
    ),
    Bug(
        "a restarted mixer adopts nothing",
        "I5, I9",
        (Swap(MixerController, "sweep", sweep_what_is_remembered),),
        ((scenario(test_mixer_controller.test_a_restarted_daemon_adopts_what_runs),)),
    ),
    Bug(
        "one sweep is enough to end an FFmpeg without a place",
        "I9",
        (Swap(mixer_controller, "LOST_SECONDS", 0.0),),
        (scenario(test_mixer_controller.test_an_orphan_is_ended_only_when_seen_in_two_sweeps),),
    ),
    Bug(
        "housekeeping ends what an empty etcd does not know",
        "I9",
        (Swap(MixerController, "_is_distrusted", lambda *_: False),),
        (scenario(test_mixer_repairs.test_an_etcd_younger_than_a_process_is_not_believed),),
    ),
    Bug(
        "an FFmpeg that does nothing any more is taken for a starved one",
        "I5 (sound comes back)",
        (Swap(mixer_controller, "is_quiet", lambda *_: False),),
        ((scenario(test_mixer_supervision.test_a_stuck_one_is_seen_and_replaced),)),
    ),
    Bug(
        "a playlist goes back to an older epoch",
        "I12",
        (Swap(Air, "since", any_epoch),),
        ((scenario(test_hls_moves.test_a_replica_never_goes_back_to_an_older_epoch),)),
    ),
    Bug(
        "the new mixer's playlist is served before players can begin on it",
        "I12 (no stall in a move)",
        (Swap(hls, "ENOUGH_SEGMENTS", 1),),
        (
            scenario(
                test_hls_moves.test_while_a_mixer_is_replaced_the_previous_one_is_heard_until_there_is_enough
            ),
        ),
    ),
    Bug(
        "the discontinuity sequence is off by one",
        "RFC 8216 (discontinuities are numbered)",
        (Swap(playlist, "_begun_before", lambda text: BEGUN(text) + 1),),
        (
            scenario(
                test_hls_moves.test_seams_are_numbered_over_all_epochs_and_the_target_never_sinks
            ),
        ),
    ),
    Bug(
        "what a playlist lists is not fetched ahead",
        "what is served can be fetched",
        (Swap(Segments, "prefetch", lambda *_: None),),
        (
            scenario(
                test_hls_prefetch.test_all_that_was_listed_while_somebody_listened_outlives_its_host
            ),
        ),
    ),
)

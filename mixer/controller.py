"""Reconcile one room's FFmpeg: look, decide, act, until nothing is left to do.

On start the actual state is listed first (processes by marker, folders), then compared with
etcd: start-up, resync and repair are the same code path as a normal change. Nothing is decided
about a room before both are known.
"""

import random
from dataclasses import dataclass, replace

import anyio
import structlog
from anyio.abc import TaskGroup

from mixer.api import Folders, Processes, Running
from mixer.cmdline import LISTED_SECONDS, LISTEN_SECONDS
from mixer.execute import FolderError, Tools, execute
from mixer.health import (
    UNREAD_BYTES,
    Health,
    Pulse,
    gave_up,
    is_quiet,
    judge,
    next_look_seconds,
    no_rtp,
    pulse,
)
from mixer.inventory import Inventory
from mixer.plan import Action, Facts, Self, current, plan
from mixer.ports import Ports
from mixer.restarts import Restarts
from pkg import controller, keys
from pkg.assignments import Assigned, Assignments
from pkg.etcd.api import Etcd
from pkg.events.api import SILENT, Events
from pkg.informer import UndecodableError
from pkg.model import Desired, Ended, Epoch, Kind, MixerState, MixerStatus, RoomId
from pkg.workqueue import WorkQueue

log = structlog.get_logger()

WORKERS = 8
ROUNDS = 8
# Two ranges are watched by two streams: that a room is over may be seen a moment before that its
# last playlist is to be kept. Nothing is taken for unwanted sooner.
FADE_SECONDS = 3.0
LOST_SECONDS = 20.0  # a process: seen in two sweeps
AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Node:
    """This mixer: what it says of itself, and what it needs to act."""

    me: Self
    segment_seconds: float
    master: bytes
    events: Events = SILENT


class MixerController:
    def __init__(
        self,
        etcd: Etcd,
        node: Node,
        processes: Processes,
        folders: Folders,
        ports: Ports,
        rng: random.Random,
    ) -> None:
        self._node = node
        self._processes = processes
        self._folders = folders
        self.queue: WorkQueue[str] = WorkQueue(rng)
        mixer_id = node.me.mixer_id
        self._ended = keys.ended_prefix(mixer_id)
        self.assignments = Assignments(
            etcd, Kind.MIXER, mixer_id, self.queue, rng, extra=(self._ended,)
        )
        self.assignments.informer.on_change(self._notice_ended)
        self.inventory = Inventory()
        self._restarts: Restarts[tuple[RoomId, Epoch]] = Restarts(rng)
        self._unwanted_since: dict[RoomId, float] = {}
        self._slots = keys.slots_prefix(Kind.MIXER, mixer_id)
        self._distrusted: set[tuple[RoomId, Epoch]] = set()
        self._exits: TaskGroup | None = None
        self._tools = Tools(
            me=node.me,
            assignments=self.assignments,
            processes=processes,
            folders=folders,
            inventory=self.inventory,
            ports=ports,
            restarts=self._restarts,
            master=node.master,
            watch=self._watch_exit,
            promised=self._promised,
            events=node.events,
        )

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._exits = tasks
            await self.assignments.informer.synced.wait()
            log.info("rebuild.started")
            await self.sweep()
            log.info("rebuild.ended", rooms=len(self.inventory.rooms()))
            await controller.run(self.queue, self.reconcile, workers=WORKERS)

    async def sweep(self) -> None:
        """List what is really here; have every room that it or etcd knows looked at."""
        for running in await self._processes.list_running():
            if self.inventory.add(running, anyio.current_time()):
                log.info("mix.adopted", room=running.room_id, epoch=running.epoch, pid=running.pid)
                self._watch_exit(running)
        self.inventory.listed_folders(await self._folders.list_folders())
        strangers = self.inventory.rooms() - self.assignments.rooms()
        for room_id in sorted(strangers):
            self.assignments.follow(room_id)
        for room_id in sorted(strangers | self.assignments.rooms()):
            self.queue.add(room_id)

    async def reconcile(self, key: str) -> float | None:
        room_id = RoomId(key)
        for _ in range(ROUNDS):
            assigned = self.assignments.get(room_id)
            if assigned is None:
                return None  # the first list of its range puts it into the queue
            facts = self._facts(assigned)
            actions = plan(facts, self._node.me)
            if not actions:
                return self._next_look(facts)
            await self._execute(assigned, actions)
        return AGAIN_SECONDS

    async def _execute(self, assigned: Assigned, actions: list[Action]) -> None:
        """All of them, in order. What the disk refused is tried again after the rest is done."""
        failed = None
        for action in actions:
            try:
                await execute(self._tools, assigned, action)
            except FolderError as error:
                failed = error
        if failed is not None:
            raise failed

    # -- looking ---------------------------------------------------------------------------

    def _facts(self, assigned: Assigned) -> Facts:
        room_id, now = assigned.room_id, anyio.current_time()
        running = self.inventory.running(room_id)
        informer = self.assignments.informer
        ended = informer.record(keys.ended(self._node.me.mixer_id, room_id), Ended)
        observed = self._observed(room_id)
        self._recall(assigned, observed)
        mine = current(running, assigned.wanted, observed)
        facts = Facts(
            assigned=assigned,
            running=running,
            folders=self.inventory.folders(room_id),
            ended=frozenset({ended.epoch} if ended else ()),
            observed=observed,
            health=self._health(assigned, mine),
            may_spawn=self._restart_wait(assigned) == 0.0,
            lost=False,
            failures=self._failures(assigned),
            seams=self._seams(assigned, mine, observed),
        )
        return replace(facts, lost=self._is_lost(facts, now))

    def _observed(self, room_id: RoomId) -> MixerState | None:
        """Our own key; what cannot be read is written anew."""
        try:
            return self.assignments.informer.record(keys.room(room_id, "mixer"), MixerState)
        except UndecodableError as error:
            log.error("mixer_state.undecodable", room=room_id, error=str(error))
            return None

    def _recall(self, assigned: Assigned, observed: MixerState | None) -> None:
        """A daemon that is restarted amid failures counts on from what was told. Once it has
        published nobody knows for how long, so that the next failure is the first."""
        if observed is None or observed.epoch != assigned.wanted or observed.failures == 0:
            return
        if observed.status in {MixerStatus.FAILING, MixerStatus.STARTING}:
            which, reason = (assigned.room_id, observed.epoch), observed.reason or "FFmpeg ended"
            self._restarts.recall(which, observed.failures, reason, anyio.current_time())

    def _health(self, assigned: Assigned, mine: Running | None) -> Health | None:
        if assigned.wanted is None:
            return None
        setback = self._restarts.last((assigned.room_id, assigned.wanted))
        if mine is not None:
            return self._examine(mine, unfed=setback is not None and setback.unfed)
        if setback is None:
            return None
        status = MixerStatus.STARVED if setback.unfed else MixerStatus.FAILING
        return Health(status, setback.reason)

    def _examine(self, running: Running, *, unfed: bool) -> Health | None:
        entry = self.inventory.entry(running)
        if entry is None:
            return None
        look, now = self._processes.look(running), anyio.current_time()
        entry.pulse, entry.seams = pulse(entry.pulse, look, now), look.seams
        if is_quiet(entry.pulse, now, self._node.segment_seconds):
            look = replace(look, deaf=self._processes.unread(running) >= UNREAD_BYTES)
        return judge(look, entry.pulse, now, self._node.segment_seconds, unfed=unfed)

    def _failures(self, assigned: Assigned) -> int:
        if assigned.wanted is None:
            return 0
        return self._restarts.failures((assigned.room_id, assigned.wanted))

    def _seams(self, assigned: Assigned, mine: Running | None, observed: MixerState | None) -> int:
        """Of the wanted epoch: as its process shows, or as was last told. They only rise."""
        told = observed.seams if observed and observed.epoch == assigned.wanted else 0
        entry = self.inventory.entry(mine) if mine else None
        return max(told, entry.seams if entry else 0)

    def _restart_wait(self, assigned: Assigned) -> float:
        if assigned.wanted is None:
            return 0.0
        return self._restarts.wait((assigned.room_id, assigned.wanted), anyio.current_time())

    def _is_lost(self, facts: Facts, now: float) -> bool:
        """Has what is here been unwanted for long enough, by an etcd that can be asked?"""
        room_id, strangers = facts.assigned.room_id, unwanted(facts)
        broken = self.assignments.informer.broken_since is not None
        if not strangers or broken or self._is_distrusted(room_id, strangers):
            self._unwanted_since.pop(room_id, None)
            return False
        since = self._unwanted_since.setdefault(room_id, now)
        return now - since >= _patience(facts, strangers)

    def _is_distrusted(self, room_id: RoomId, epochs: frozenset[Epoch]) -> bool:
        """An epoch is a revision: an etcd that has not come so far did not make it.

        It was restored from a backup, or is another one, and its silence proves nothing about
        that epoch, not even when it has caught up: an operator must look.
        """
        revision = self.assignments.informer.revision(self._slots)
        for epoch in epochs:
            if epoch > revision and (room_id, epoch) not in self._distrusted:
                self._distrusted.add((room_id, epoch))
                log.error("etcd.behind", room=room_id, epoch=epoch, revision=revision)
        return any((room_id, epoch) in self._distrusted for epoch in epochs)

    def _next_look(self, facts: Facts) -> float | None:
        assigned, now = facts.assigned, anyio.current_time()
        mine = current(facts.running, assigned.wanted, facts.observed)
        entry = self.inventory.entry(mine) if mine else None
        if entry is not None and entry.pulse is not None and facts.health is not None:
            return next_look_seconds(facts.health, entry.pulse, now, self._node.segment_seconds)
        if assigned.wanted is not None:
            return max(AGAIN_SECONDS, self._restart_wait(assigned))
        if unwanted(facts):
            return FADE_SECONDS
        if not assigned.held and not facts.running and not facts.folders:
            self.assignments.unfollow(assigned.room_id)
        return None

    # -- being told ------------------------------------------------------------------------

    def _notice_ended(self, key: str) -> None:
        if key.startswith(self._ended) and key != self._ended:
            room_id = RoomId(key.removeprefix(self._ended))
            if self.inventory.folders(room_id):
                self.assignments.follow(room_id)
            self.queue.add(room_id)

    def _watch_exit(self, running: Running) -> None:
        if self._exits is not None:
            self._exits.start_soon(self._exited, running)

    async def _exited(self, running: Running) -> None:
        """An exit that nobody asked for is a failure, whatever its code, unless no sound came."""
        await self._processes.exited(running)
        since = self.inventory.remove(running)
        if since is None:
            return
        now, look = anyio.current_time(), self._processes.look(running)
        lived = now - since
        reason = judge(look, Pulse(None, now), now, 1.0).reason or "FFmpeg ended"
        self._tools.ports.rest(running.port, now)
        which = (running.room_id, running.epoch)
        if gave_up(look) and lived > LISTEN_SECONDS / 2:
            self._restarts.note_unfed(which, no_rtp(self._node.segment_seconds), now)
        else:
            self._restarts.note(which, reason, lived, now)
        log.warning("mix.exited", room=running.room_id, epoch=running.epoch, reason=reason)
        self.queue.add(running.room_id)

    def _promised(self) -> set[int]:
        """Ports that Janus was told of, whether or not an FFmpeg is up on them now."""
        informer = self.assignments.informer
        ports = set()
        for room_id in self.assignments.rooms():
            try:
                state = informer.record(keys.room(room_id, "mixer"), MixerState)
            except UndecodableError:
                continue
            if state is not None and state.mixer_id == self._node.me.mixer_id:
                ports.add(state.port)
        return ports


def _patience(facts: Facts, strangers: frozenset[Epoch]) -> float:
    """While the room is on air here, players may still fetch what an epoch before listed."""
    if any(running.epoch in strangers for running in facts.running):
        return LOST_SECONDS
    return FADE_SECONDS if facts.assigned.wanted is None else LISTED_SECONDS


def unwanted(facts: Facts) -> frozenset[Epoch]:
    """What is here that no slot, wish or after-life speaks for.

    While livemeta names an epoch, only its place is missing: the room manager's to mend.
    """
    assigned = facts.assigned
    live = assigned.live
    named = live.mixer_epoch if live and live.status is Desired.ONAIR else None
    spoken_for = facts.ended | assigned.keep | {assigned.wanted, assigned.leaving, named}
    here = facts.folders | {running.epoch for running in facts.running}
    return frozenset(e for e in here - spoken_for if not assigned.holds(e))

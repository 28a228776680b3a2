"""Reconcile one room's part in Janus: look, decide, act, until nothing is left to do.

On start, on every new connection to Janus and in each sweep, what Janus really holds is listed
and compared with etcd: start-up, resync and repair are the same code path as a normal change.
Nothing is decided about a room before both are known; while Janus is away nothing is concluded.
"""

import random
from dataclasses import dataclass

import anyio
import structlog

from janusmanager.api import Janus, JanusRefusedError, JanusUnavailableError
from janusmanager.execute import Tools, execute
from janusmanager.inventory import Inventory
from janusmanager.plan import Action, CreateRoom, Facts, Forward, Report, Self, Withdraw, plan
from pkg import backoff, controller, keys
from pkg.assignments import Assigned, Assignments
from pkg.errors import TransientError
from pkg.etcd.api import Etcd
from pkg.events.api import SILENT, Events
from pkg.informer import UndecodableError
from pkg.model import Epoch, JanusState, Kind, MixerState, RoomId
from pkg.secrets import room_secret
from pkg.workqueue import WorkQueue

log = structlog.get_logger()

WORKERS = 16
ROUNDS = 8
RELIST_CAP_SECONDS = 2.0
# A mixer tells its port a few milliseconds after the room stands here: one write then says both.
JUST_MADE_SECONDS = 0.05


class UnsettledError(TransientError):
    """Something undoes what we do, or Janus says yes and does nothing."""


@dataclass(frozen=True, slots=True)
class Node:
    """This module: what it says of itself, and what it derives its secrets from."""

    me: Self
    master: bytes
    events: Events = SILENT


class JanusController:
    def __init__(self, etcd: Etcd, janus: Janus, node: Node, rng: random.Random) -> None:
        self._janus = janus
        self._me = node.me
        self._rng = rng
        self.queue: WorkQueue[str] = WorkQueue(rng)
        self.assignments = Assignments(etcd, Kind.JANUS, node.me.janus_id, self.queue, rng)
        self.inventory = Inventory(janus, lambda *room: room_secret(node.master, *room))
        self.read = anyio.Event()  # the inventory, for the first time
        self.refusal: str | None = None
        self.orphans: frozenset[tuple[RoomId, Epoch]] = frozenset()  # written by housekeeping
        self._trouble: dict[RoomId, str] = {}
        self._made_at: dict[RoomId, float] = {}
        self._tools = Tools(
            module_id=node.me.janus_id,
            master=node.master,
            janus=janus,
            assignments=self.assignments,
            inventory=self.inventory,
            events=node.events,
        )

    # -- the inventory ---------------------------------------------------------------------

    async def follow_janus(self) -> None:
        """Read what Janus holds, anew on every connection; for ever.

        Raises JanusRefusedError if Janus refuses the first time; later that shows in the
        heartbeat (``refusal``), as nobody reads a daemon's last words at night.
        """
        seen = failures = 0
        while True:
            number = await self._janus.connection(seen)
            try:
                await self._rebuild(number)
                seen, failures, self.refusal = number, 0, None
            except (JanusUnavailableError, JanusRefusedError) as error:
                if isinstance(error, JanusRefusedError):
                    if not self.read.is_set():
                        raise
                    self.refusal = str(error)
                seconds = backoff.delay(failures, self._rng, cap=RELIST_CAP_SECONDS)
                failures += 1
                log.warning("rebuild.failed", error=str(error), retry_in=round(seconds, 3))
                await anyio.sleep(seconds)

    async def _rebuild(self, connection: int) -> None:
        log.info("rebuild.started", connection=connection)
        await self.inventory.relist()
        self.read.set()
        self.enqueue_all()
        log.info("rebuild.ended", connection=connection, rooms=len(self.inventory.rooms()))

    def enqueue_all(self) -> None:
        """Every room that Janus or etcd knows here."""
        for room_id in sorted(self.inventory.rooms()):
            self.assignments.follow(room_id)
        for room_id in sorted(self.inventory.rooms() | self.assignments.rooms()):
            self.queue.add(room_id)

    # -- the rooms -------------------------------------------------------------------------

    async def work(self) -> None:
        await self.assignments.informer.synced.wait()
        await self.read.wait()
        await controller.run(self.queue, self.reconcile, workers=WORKERS)

    async def reconcile(self, key: str) -> float | None:
        room_id = RoomId(key)
        for _ in range(ROUNDS):
            facts = await self._look(room_id)
            if facts is None:
                return None
            actions = plan(facts, self._me)
            if not await self._act(facts, actions):
                self._leave(facts, actions)
                return self._just_made_seconds(room_id) or None
        raise UnsettledError(f"{room_id} is not settled after {ROUNDS} rounds; {actions} is left")

    async def _look(self, room_id: RoomId) -> Facts | None:
        """None while its keys are not listed: their first list puts it into the queue."""
        if self.inventory.is_doubted(room_id):
            await self.inventory.refresh(room_id)
        assigned = self.assignments.get(room_id)
        if assigned is None:
            return None
        present = self.inventory.present(room_id)
        for room in present:
            if room.refusal is not None:
                raise JanusRefusedError(room.refusal)
        return Facts(
            assigned=assigned,
            present=present,
            observed=self._observed(room_id),
            mixer=self._mixer(assigned),
            orphans=frozenset(epoch for other, epoch in self.orphans if other == room_id),
            trouble=self._trouble.get(room_id),
            just_made=self._just_made_seconds(room_id) > 0,
        )

    def _just_made_seconds(self, room_id: RoomId) -> float:
        """How long the room still counts as just made; 0 if it does not."""
        made_at = self._made_at.get(room_id)
        if made_at is None:
            return 0.0
        left = made_at + JUST_MADE_SECONDS - anyio.current_time()
        if left <= 0:
            del self._made_at[room_id]
        return max(0.0, left)

    def _observed(self, room_id: RoomId) -> JanusState | None:
        """Our own key; what cannot be read is written anew."""
        try:
            return self.assignments.informer.record(keys.room(room_id, "janus"), JanusState)
        except UndecodableError as error:
            log.error("janus_state.undecodable", room=room_id, error=str(error))
            return None

    def _mixer(self, assigned: Assigned) -> MixerState | None:
        """Read only where it matters: a broken one must not keep a room from ending."""
        if assigned.wanted is None:
            return None
        return self.assignments.informer.record(keys.room(assigned.room_id, "mixer"), MixerState)

    async def _act(self, facts: Facts, actions: list[Action]) -> bool:
        """Whether to look again now. A write to etcd comes back by itself, through the copy."""
        for action in actions:
            await self._execute(facts, action)
        return bool(actions) and not isinstance(actions[-1], Report | Withdraw)

    async def _execute(self, facts: Facts, action: Action) -> None:
        """What keeps the mix from the mixer is remembered, to be told in the room's key."""
        room_id = facts.assigned.room_id
        if not isinstance(action, Forward):
            await execute(self._tools, facts.assigned, action)
            if isinstance(action, CreateRoom):
                self._made_at[room_id] = anyio.current_time()
            return
        try:
            await execute(self._tools, facts.assigned, action)
            self._trouble.pop(room_id, None)
        except (JanusUnavailableError, JanusRefusedError) as error:
            self._trouble[room_id] = str(error)
            raise

    def _leave(self, facts: Facts, actions: list[Action]) -> None:
        assigned = facts.assigned
        if assigned.wanted is None:
            self._trouble.pop(assigned.room_id, None)
        if not actions and not assigned.held and not facts.present:
            self.assignments.unfollow(assigned.room_id)

"""Reconcile one room: look at the copy, decide, act.

``housekeeping`` and every change of a room's keys or of its modules' slots put the room into the
queue; any number of room managers may do so at once, since every write is guarded.
"""

import random

import structlog
from pydantic import ValidationError

from pkg import controller, keys
from pkg.etcd.api import Etcd
from pkg.model import Ended, Kind, RoomId, Slot
from pkg.workqueue import WorkQueue
from roommanager import execute
from roommanager.facts import RoomFacts
from roommanager.plan import Action, FinishRemove, FinishStop, MarkOnAir, plan
from roommanager.view import View
from roommanager.wishes import Sources

log = structlog.get_logger()
WORKERS = 8


class RoomController:
    def __init__(self, etcd: Etcd, view: View, sources: Sources, rng: random.Random) -> None:
        self._etcd = etcd
        self._view = view
        self._sources = sources
        self.queue: WorkQueue[str] = WorkQueue(rng)
        self._slot_holders: dict[str, RoomId] = {}
        view.informer.on_change(self._notice)

    async def run(self) -> None:
        await self._view.informer.synced.wait()
        await controller.run(self.queue, self.reconcile, workers=WORKERS)

    async def reconcile(self, key: str) -> float | None:
        facts = self._view.room(RoomId(key))
        for action in plan(facts):
            await self._execute(facts, action)
        return None

    async def _execute(self, facts: RoomFacts, action: Action) -> None:
        match action:
            case MarkOnAir():
                await self._mark_on_air(facts)
            case FinishStop(keep_playlist):
                ended = self._ended(facts) if keep_playlist else None
                await execute.finish_stop(self._etcd, facts, ended)
                log.info("room.stopped", room=facts.room_id)
            case FinishRemove():
                mixers = self._view.ended_on(facts.room_id)
                await execute.finish_remove(self._etcd, facts, mixers)
                log.info("room.removed", room=facts.room_id)

    async def _mark_on_air(self, facts: RoomFacts) -> None:
        if facts.live is not None:
            live = facts.live.model_copy(update={"on_air_at": self._sources.now()})
            await execute.rewrite(self._etcd, facts, live)
            log.info("room.on_air", room=facts.room_id, epoch=live.epoch)

    def _ended(self, facts: RoomFacts) -> Ended | None:
        """Where the last playlist is; None if its mixer is not there to serve it."""
        live = facts.live
        mixer = self._view.fleet.get(Kind.MIXER, live.mixer_id) if live else None
        if live is None or mixer is None or mixer.heartbeat is None:
            return None
        return Ended(
            room_id=facts.room_id,
            mixer_id=live.mixer_id,
            epoch=live.mixer_epoch,
            nonce=live.nonce,
            origin=mixer.heartbeat.endpoints.origin or "",
        )

    def _notice(self, key: str) -> None:
        parsed = keys.parse_room(key)
        if parsed is not None:
            self.queue.add(parsed[0])
        elif "/slots/" in key:
            self._notice_slot(key)

    def _notice_slot(self, key: str) -> None:
        """A freed slot concerns the room that held it, whose id only the old value told."""
        kv = self._view.informer.get(key)
        if kv is None:
            holder = self._slot_holders.pop(key, None)
            if holder is not None:
                self.queue.add(holder)
            return
        try:
            self._slot_holders[key] = Slot.decode(kv.value).room_id
        except ValidationError as error:
            log.error("slot.undecodable", key=key, errors=error.error_count())

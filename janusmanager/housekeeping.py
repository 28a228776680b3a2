"""Every 10 s: list what Janus really holds, and have every room looked at again.

It only enqueues; ``controller`` repairs. A room in Janus without a place here is believed
unwanted only when two sweeps in a row found it so, and only by an etcd that can know.
"""

from typing import NoReturn

import anyio
import structlog

from janusmanager.api import JanusRefusedError, JanusUnavailableError
from janusmanager.controller import JanusController
from pkg import keys
from pkg.model import Epoch, Kind, ModuleId, RoomId

log = structlog.get_logger()
SWEEP_SECONDS = 10.0


class Housekeeping:
    def __init__(self, janus: JanusController, module_id: ModuleId) -> None:
        self._janus = janus
        self._slots = keys.slots_prefix(Kind.JANUS, module_id)
        self._strays: frozenset[tuple[RoomId, Epoch]] = frozenset()
        self._distrusted: set[tuple[RoomId, Epoch]] = set()

    async def sweep_for_ever(self) -> NoReturn:
        while True:
            await anyio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except (JanusUnavailableError, JanusRefusedError) as error:
                log.warning("housekeeping.failed", error=str(error))

    async def sweep(self) -> None:
        """Raises JanusUnavailableError or JanusRefusedError; nothing is believed then."""
        await self._janus.inventory.relist()
        before, self._strays = self._strays, self._find_strays()
        self._janus.orphans = self._strays & before
        self._janus.enqueue_all()

    def _find_strays(self) -> frozenset[tuple[RoomId, Epoch]]:
        """Rooms in Janus that hold no place here.

        An epoch is a revision: an etcd that has not come so far did not make it. It was restored
        from a backup, or is another one, and its silence proves nothing about such a room, not
        even when it has caught up: an operator must look.
        """
        assignments, informer = self._janus.assignments, self._janus.assignments.informer
        if not informer.is_listed(self._slots):
            return frozenset()
        revision, found = informer.revision(self._slots), set()
        for room_id in self._janus.inventory.rooms():
            held = {place.epoch for place in assignments.held(room_id)}
            for room in self._janus.inventory.present(room_id):
                if room.epoch > revision:
                    self._distrusted.add((room_id, room.epoch))
                    log.error("etcd.behind", room=room_id, epoch=room.epoch, revision=revision)
                elif room.epoch not in held:
                    found.add((room_id, room.epoch))
        return frozenset(found - self._distrusted)

"""The room manager's copy of etcd, as rooms, modules and ended rooms; all at one revision."""

import random

import anyio

from pkg import keys
from pkg.etcd.api import Etcd
from pkg.informer import Informer
from pkg.model import Ended, RoomId
from roommanager.facts import RoomFacts, gather
from roommanager.fleet import Fleet

EVERYTHING = "/"  # one range, so that rooms and modules are seen at the same revision


class View:
    def __init__(self, etcd: Etcd, rng: random.Random) -> None:
        self.informer = Informer(etcd, (EVERYTHING,), rng)
        self.fleet = Fleet()
        self._ended: dict[RoomId, str] = {}
        self._changed: dict[RoomId, anyio.Event] = {}
        self.informer.on_change(self._apply)

    @property
    def revision(self) -> int:
        return self.informer.revision(EVERYTHING)

    def room(self, room_id: RoomId) -> RoomFacts:
        """Raises UndecodableError."""
        return gather(room_id, self.revision, self.informer.get, self.fleet)

    def rooms(self) -> list[RoomId]:
        found = (keys.parse_room(key) for key in self.informer.keys(keys.ROOMS))
        return sorted({parsed[0] for parsed in found if parsed})

    def ended(self, room_id: RoomId) -> Ended | None:
        """A stopped room's after-life, for 60 s."""
        key = self._ended.get(room_id)
        return self.informer.record(key, Ended) if key else None

    async def changed(self, room_id: RoomId) -> None:
        """Wait for the next change of any of the room's keys."""
        await self._changed.setdefault(room_id, anyio.Event()).wait()

    def _apply(self, key: str) -> None:
        kv = self.informer.get(key)
        self.fleet.apply(key, kv)
        parsed = keys.parse_room(key)
        if parsed is not None:
            event = self._changed.pop(parsed[0], None)
            if event is not None:
                event.set()
        elif key.startswith(keys.ENDED):
            room_id = RoomId(key.rpartition("/")[2])
            if kv is not None:
                self._ended[room_id] = key
            elif self._ended.get(room_id) == key:
                del self._ended[room_id]

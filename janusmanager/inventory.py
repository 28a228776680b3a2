"""What Janus holds of ours, as last *listed* from it and kept up by our own requests' results.

A listing takes a while, and rooms are worked on meanwhile: a room that a request touched since
the listing began keeps what the request said. A request whose outcome is unknown puts its room
in doubt, and ``controller`` looks again before it concludes anything about that room.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

from janusmanager.api import Forwarder, Janus, JanusRefusedError, JanusRoom, NoSuchRoomError
from janusmanager.plan import Present
from pkg.model import Epoch, RoomId


class Inventory:
    """``secret(room_id, epoch)`` is the AudioBridge secret of our rooms."""

    def __init__(self, janus: Janus, secret: Callable[[RoomId, Epoch], str]) -> None:
        self._janus = janus
        self._secret = secret
        self._rooms: dict[RoomId, dict[int, Present]] = {}
        self._clock = itertools.count(1)
        self._touched: dict[RoomId, int] = {}
        self._doubted: set[RoomId] = set()

    def rooms(self) -> set[RoomId]:
        return set(self._rooms)

    def present(self, room_id: RoomId) -> tuple[Present, ...]:
        return tuple(self._rooms.get(room_id, {}).values())

    def is_doubted(self, room_id: RoomId) -> bool:
        return room_id in self._doubted

    # -- asking Janus ----------------------------------------------------------------------

    async def relist(self) -> None:
        """Read all of it. Raises JanusUnavailableError or JanusRefusedError; nothing changes then.

        What one room refuses is kept with that room (``Present.refusal``).
        """
        began = next(self._clock)
        found = await self._read(await self._janus.list_rooms())
        for room_id in self._rooms.keys() | found.keys():
            if self._touched.get(room_id, 0) < began:
                self._replace(room_id, found.get(room_id, {}))
        self._touched = {r: at for r, at in self._touched.items() if at > began}
        self._doubted &= self._touched.keys()

    async def refresh(self, room_id: RoomId) -> None:
        """Read one room's part, for the one worker that has the room."""
        listed = await self._janus.list_rooms()
        found = await self._read(r for r in listed if r.marker.room_id == room_id)
        self._replace(room_id, found.get(room_id, {}))
        self.touch(room_id)
        self._doubted.discard(room_id)

    async def _read(self, listed: Iterable[JanusRoom]) -> dict[RoomId, dict[int, Present]]:
        found: dict[RoomId, dict[int, Present]] = {}
        for room in listed:
            present = await self._look_into(room)
            if present is not None:
                found.setdefault(room.marker.room_id, {})[room.number] = present
        return found

    async def _look_into(self, room: JanusRoom) -> Present | None:
        """None if it went away since it was listed."""
        epoch = room.marker.janus_epoch
        secret = self._secret(room.marker.room_id, epoch)
        try:
            forwarders = await self._janus.forwarders(room.number, secret)
        except NoSuchRoomError:
            return None
        except JanusRefusedError as error:
            return Present(room.number, epoch, refusal=str(error))
        return Present(room.number, epoch, forwarders)

    # -- our own requests ------------------------------------------------------------------

    def touch(self, room_id: RoomId) -> None:
        """A request about the room goes out, or its answer came."""
        self._touched[room_id] = next(self._clock)

    def doubt(self, room_id: RoomId) -> None:
        """It is unknown what a request did, or will yet do."""
        self.touch(room_id)
        self._doubted.add(room_id)

    def put(self, room_id: RoomId, present: Present) -> None:
        self.touch(room_id)
        self._rooms.setdefault(room_id, {})[present.number] = present

    def drop(self, room_id: RoomId, number: int) -> None:
        self.touch(room_id)
        rooms = dict(self._rooms.get(room_id, {}))
        rooms.pop(number, None)
        self._replace(room_id, rooms)

    def forwarded(self, room_id: RoomId, number: int, made: Forwarder) -> None:
        """The room has this forwarder, and no other of its ssrc."""
        self._amend(room_id, number, lambda f: f.ssrc != made.ssrc, (made,))

    def stopped(self, room_id: RoomId, number: int, stream_id: int) -> None:
        self._amend(room_id, number, lambda f: f.stream_id != stream_id)

    def _amend(
        self,
        room_id: RoomId,
        number: int,
        stays: Callable[[Forwarder], bool],
        more: tuple[Forwarder, ...] = (),
    ) -> None:
        present = self._rooms.get(room_id, {}).get(number)
        if present is not None:
            kept = tuple(f for f in present.forwarders if stays(f))
            self.put(room_id, replace(present, forwarders=kept + more))

    def _replace(self, room_id: RoomId, rooms: dict[int, Present]) -> None:
        if rooms:
            self._rooms[room_id] = rooms
        else:
            self._rooms.pop(room_id, None)

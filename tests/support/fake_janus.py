"""Janus in memory, as measured (docs: facts about Janus 1.1.2), with cruelty on demand.

Implements ``janusmanager.api.Janus`` and passes the same contract suite as the real driver.
Time is anyio's, so that a deadline of 3 s costs nothing under virtual time.
"""

import ipaddress
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from janusmanager import messages
from janusmanager.api import (
    Forwarder,
    JanusInfo,
    JanusRefusedError,
    JanusRoom,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    Participant,
    RoomNumberTakenError,
)
from pkg.model import ModuleId

T = TypeVar("T")

DEADLINE_SECONDS = 3.0


@dataclass
class FakeRoom:
    description: str
    pin: str
    secret: str
    forwarders: dict[int, Forwarder] = field(default_factory=dict)
    participants: list[Participant] = field(default_factory=list)


@dataclass(frozen=True)
class Mishap:
    """What happens to one request: ``executed`` or not, and the caller sees a timeout.

    ``late``: seconds after its arrival at which it is executed (the caller has given up).
    """

    executed: bool = True
    late: float = 0.0


class FakeJanus:
    """``rooms`` is what Janus holds; tests may read it and put strangers' rooms into it.

    ``calls`` counts plugin requests by name. ``latency`` is added to every request.
    """

    def __init__(self, module_id: ModuleId) -> None:
        self.module_id = module_id
        self.rooms: dict[int, FakeRoom] = {}
        self.calls: dict[str, int] = {}
        self.latency = 0.0
        self._up = True
        self._frozen = False
        self._refusal: str | None = None
        self._mishaps: dict[str, list[Mishap]] = {}
        self._late: list[tuple[float, Callable[[], object]]] = []
        self._stream_ids = itertools.count(1)
        self._number = 1
        self._announced = anyio.Event()

    # --- cruelty ---

    def down(self) -> None:
        """The process dies: every room is lost, every verb fails at once."""
        self._up = False
        self.rooms.clear()
        self._late.clear()

    def up(self) -> None:
        """It is back, empty, on a new connection."""
        self._up = True
        self.reconnect()

    def restart(self) -> None:
        self.down()
        self.up()

    def reconnect(self) -> None:
        """The connection broke and is back; the rooms are still there."""
        self._number += 1
        self._announced.set()
        self._announced = anyio.Event()

    def freeze(self, *, frozen: bool = True) -> None:
        """SIGSTOP: nothing answers, calls last until their deadline, media rooms stay."""
        self._frozen = frozen

    def refuse(self, reason: str | None) -> None:
        """Janus is set up wrongly (``None``: it is mended)."""
        self._refusal = reason

    def spoil(self, request: str, *mishaps: Mishap) -> None:
        """Let the next requests of that name (``create``, ``rtp_forward``, …) time out."""
        self._mishaps.setdefault(request, []).extend(mishaps)

    # --- api.Janus ---

    async def connection(self, after: int = 0) -> int:
        while self._number <= after:
            await self._announced.wait()
        return self._number

    async def ping(self) -> float:
        await self._reach()
        return self.latency

    async def info(self) -> JanusInfo:
        await self._reach()
        return JanusInfo("1.1.2", frozenset({messages.PLUGIN}))

    async def list_rooms(self) -> tuple[JanusRoom, ...]:
        return await self._request("list", self._list)

    async def create_room(self, marker: Marker, number: int, pin: str, secret: str) -> JanusRoom:
        def create() -> JanusRoom:
            if number in self.rooms:
                raise RoomNumberTakenError(number)
            self.rooms[number] = FakeRoom(str(marker), pin, secret)
            return JanusRoom(number, marker)

        try:
            return await self._request("create", create)
        except RoomNumberTakenError:
            for room in await self.list_rooms():
                if (room.number, room.marker) == (number, marker):
                    return room
            raise

    async def destroy_room(self, number: int, secret: str) -> None:
        def destroy() -> None:
            self._room(number, secret)
            del self.rooms[number]

        await _unless_gone(self._request("destroy", destroy))

    async def forward(self, number: int, secret: str, host: str, port: int, ssrc: int) -> int:
        address = str(ipaddress.ip_address(host))
        messages.forwarding("", number, secret, address, port, ssrc)  # the same bounds

        def add() -> int:
            room, stream_id = self._room(number, secret), next(self._stream_ids)
            room.forwarders[stream_id] = Forwarder(stream_id, address, port, ssrc)
            return stream_id

        existing = await self.forwarders(number, secret)
        stream_id, surplus = messages.match_forwarders(existing, address, port, ssrc)
        if stream_id is None:
            stream_id = await self._request("rtp_forward", add)
        for other in surplus:
            await self.stop_forward(number, secret, other)
        return stream_id

    async def forwarders(self, number: int, secret: str) -> tuple[Forwarder, ...]:
        return await self._request(
            "listforwarders", lambda: tuple(self._room(number, secret).forwarders.values())
        )

    async def stop_forward(self, number: int, secret: str, stream_id: int) -> None:
        def stop() -> None:
            self._room(number, secret).forwarders.pop(stream_id, None)

        await _unless_gone(self._request("stop_rtp_forward", stop))

    async def participants(self, number: int) -> tuple[Participant, ...]:
        return await self._request(
            "listparticipants", lambda: tuple(self._room(number, None).participants)
        )

    # --- inside ---

    def _list(self) -> tuple[JanusRoom, ...]:
        found = [
            JanusRoom(number, marker, len(room.participants))
            for number, room in sorted(self.rooms.items())
            if (marker := Marker.parse(room.description)) is not None
        ]
        return tuple(room for room in found if room.marker.module_id == self.module_id)

    def _room(self, number: int, secret: str | None) -> FakeRoom:
        room = self.rooms.get(number)
        if room is None:
            raise NoSuchRoomError(number)
        if secret is not None and secret != room.secret:
            failure = messages.Failure(489, "Unauthorized (wrong secret)", core=False)
            raise messages.to_error(failure, number)
        return room

    async def _reach(self) -> None:
        if not self._up:
            raise JanusUnavailableError("the fake Janus is down")
        if self._frozen:
            await self._time_out()
        await anyio.sleep(self.latency)

    async def _request(self, name: str, act: Callable[[], T]) -> T:
        self.calls[name] = self.calls.get(name, 0) + 1
        await self._reach()
        if self._refusal is not None:
            raise JanusRefusedError(self._refusal)
        self._run_late()
        if mishaps := self._mishaps.get(name):
            self._suffer(mishaps.pop(0), act)
            await self._time_out()
        return act()

    def _suffer(self, mishap: Mishap, act: Callable[[], object]) -> None:
        if mishap.executed:
            self._late.append((anyio.current_time() + mishap.late, act))
            self._run_late()

    def _run_late(self) -> None:
        """Execute what is due; nobody waits for its answer, so a failure is nobody's."""
        due = [late for late in self._late if late[0] <= anyio.current_time()]
        for late in due:
            self._late.remove(late)
            try:
                late[1]()
            except (NoSuchRoomError, RoomNumberTakenError, JanusRefusedError):
                continue

    async def _time_out(self) -> None:
        await anyio.sleep(DEADLINE_SECONDS)
        raise JanusUnavailableError(f"Janus did not answer within {DEADLINE_SECONDS} s")


async def _unless_gone(request: Awaitable[None]) -> None:
    try:
        await request
    except NoSuchRoomError:
        return

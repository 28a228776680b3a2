"""Carry out one action of the plan: the only place of the Janus manager with side effects."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from janusmanager.api import (
    Forwarder,
    Janus,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    RoomNumberTakenError,
)
from janusmanager.inventory import Inventory
from janusmanager.messages import room_number
from janusmanager.plan import (
    Action,
    CreateRoom,
    DestroyRoom,
    Forward,
    Present,
    Report,
    StopForward,
    Withdraw,
)
from pkg.assignments import Assigned, Assignments
from pkg.events.api import SILENT, Events
from pkg.events.records import ForwarderMade, JanusRoomCreated
from pkg.model import Epoch, ModuleId, RoomId
from pkg.secrets import host_pin, room_secret

log = structlog.get_logger()

NUMBERS = 16  # of 900,000; with 500 taken, a room that finds none free is one in 10^52


@dataclass(frozen=True, slots=True)
class Tools:
    """What acting needs."""

    module_id: ModuleId
    master: bytes
    janus: Janus
    assignments: Assignments
    inventory: Inventory
    events: Events = SILENT


async def execute(tools: Tools, assigned: Assigned, action: Action) -> None:
    """Raises what the verbs of ``janusmanager.api`` and ``Assignments`` raise."""
    room_id = assigned.room_id
    match action:
        case Report(state):
            await tools.assignments.report(assigned, "janus", state)
            log.info("janus_room.reported", room=room_id, status=state.status.value)
        case Withdraw(epochs):
            await tools.assignments.withdraw(assigned, "janus", set(epochs))
            log.info("janus_room.withdrawn", room=room_id, epochs=sorted(epochs))
        case _:
            with _noting_doubt(tools.inventory, room_id):
                await _ask_janus(tools, room_id, action)


@contextmanager
def _noting_doubt(inventory: Inventory, room_id: RoomId) -> Generator[None]:
    """A request that may have worked or not, or met a room that is gone: look before the next."""
    inventory.touch(room_id)
    try:
        yield
    except (JanusUnavailableError, NoSuchRoomError):
        inventory.doubt(room_id)
        raise


async def _ask_janus(
    tools: Tools, room_id: RoomId, action: CreateRoom | DestroyRoom | Forward | StopForward
) -> None:
    secret = room_secret(tools.master, room_id, action.epoch)
    match action:
        case CreateRoom(epoch):
            await _create(tools, room_id, epoch, secret)
        case DestroyRoom(number, epoch):
            await tools.janus.destroy_room(number, secret)
            tools.inventory.drop(room_id, number)
            log.info("janus_room.destroyed", room=room_id, number=number, epoch=epoch)
        case Forward():
            await _forward(tools, room_id, action, secret)
        case StopForward(number, _, stream_id):
            await tools.janus.stop_forward(number, secret, stream_id)
            tools.inventory.stopped(room_id, number, stream_id)
            log.info("forwarder.stopped", room=room_id, number=number, stream=stream_id)


async def _create(tools: Tools, room_id: RoomId, epoch: Epoch, secret: str) -> None:
    """Numbers come in a fixed order, so that a lost answer's room is met again and adopted."""
    marker = Marker(tools.module_id, room_id, epoch)
    pin = host_pin(tools.master, room_id, epoch)
    for attempt in range(NUMBERS):
        number = room_number(marker, attempt)
        try:
            await tools.janus.create_room(marker, number, pin, secret)
        except RoomNumberTakenError:
            log.info("janus_room.number_taken", room=room_id, number=number)
            continue
        tools.inventory.put(room_id, Present(number, epoch))
        log.info("janus_room.created", room=room_id, number=number, epoch=epoch)
        tools.events.tell(
            JanusRoomCreated(room_id=room_id, epoch=epoch, janus=tools.module_id, number=number)
        )
        return
    raise RoomNumberTakenError(number)


async def _forward(tools: Tools, room_id: RoomId, action: Forward, secret: str) -> None:
    number, host, port, ssrc = action.number, action.host, action.port, action.ssrc
    stream_id = await tools.janus.forward(number, secret, host, port, ssrc)
    tools.inventory.forwarded(room_id, number, Forwarder(stream_id, host, port, ssrc))
    log.info("forwarder.made", room=room_id, number=number, host=host, port=port)
    tools.events.tell(
        ForwarderMade(
            room_id=room_id, epoch=action.epoch, janus=tools.module_id, host=host, port=port
        )
    )

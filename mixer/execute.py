"""Carry out the plan: the only place of the mixer with side effects on etcd and FFmpeg."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import structlog

from mixer.api import Folders, Mix, NoPortError, Processes, Running, SpawnError
from mixer.inventory import Inventory
from mixer.plan import Action, ForgetKey, RemoveFolder, Report, StartMix, StopMix, Withdraw
from mixer.ports import Ports
from mixer.restarts import Restarts
from pkg.assignments import Assigned, Assignments
from pkg.errors import TransientError
from pkg.model import Epoch, RoomId
from pkg.secrets import hls_key

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What acting needs. ``watch`` is told of each process that was started or found."""

    assignments: Assignments
    processes: Processes
    folders: Folders
    inventory: Inventory
    ports: Ports
    restarts: Restarts[tuple[RoomId, Epoch]]
    master: bytes
    watch: Callable[[Running], None]
    promised: Callable[[], set[int]]  # ports told to Janus of rooms whose FFmpeg is down


async def execute(tools: Tools, assigned: Assigned, action: Action) -> None:
    room_id = assigned.room_id
    match action:
        case StopMix(running, failed):
            await _stop(tools, running, failed)
        case StartMix(epoch, port):
            await _start_or_note(tools, assigned, epoch, port)
        case ForgetKey(epoch):
            await tools.folders.forget_key(room_id, epoch)
        case RemoveFolder(epoch):
            await tools.folders.remove(room_id, epoch)
            tools.inventory.removed_folder(room_id, epoch)
        case Report(state):
            await tools.assignments.report(assigned, "mixer", state)
            log.info("mix.reported", room=room_id, status=state.status.value, reason=state.reason)
        case Withdraw(epochs):
            await tools.assignments.withdraw(assigned, "mixer", set(epochs))
            for epoch in epochs:
                tools.restarts.forget((room_id, epoch))
            log.info("mix.withdrawn", room=room_id, epochs=sorted(epochs))


async def _stop(tools: Tools, running: Running, failed: str | None) -> None:
    now = anyio.current_time()
    since = tools.inventory.remove(running)  # first, so that its exit is not taken for a failure
    try:
        await tools.processes.stop(running)
    except TransientError:
        tools.inventory.add(running, since if since is not None else now)
        raise
    if failed is None:
        tools.ports.quarantine([running.port], anyio.current_time())
    else:
        lived = now - since if since is not None else 0.0
        tools.restarts.note((running.room_id, running.epoch), failed, lived, now)
    log.info("mix.stopped", room=running.room_id, epoch=running.epoch, failed=failed)


async def _start_or_note(tools: Tools, assigned: Assigned, epoch: Epoch, port: int | None) -> None:
    """What keeps FFmpeg from starting is reported and tried again later, as a crash would be."""
    try:
        await _start(tools, assigned, epoch, port)
    except (SpawnError, NoPortError) as error:
        now = anyio.current_time()
        tools.restarts.note((assigned.room_id, epoch), str(error), 0.0, now)
        log.warning("mix.start_failed", room=assigned.room_id, epoch=epoch, reason=str(error))


async def _start(tools: Tools, assigned: Assigned, epoch: Epoch, port: int | None) -> None:
    live = assigned.live
    if live is None:
        return
    now = anyio.current_time()
    room_id = assigned.room_id
    key = hls_key(tools.master, room_id, live.nonce)
    in_use = tools.inventory.ports() | (tools.promised() - {port})
    if port is not None and port not in in_use and tools.processes.bindable(port):
        running = await tools.processes.spawn(Mix(room_id, epoch, port, live.nonce, key))
    else:
        with tools.ports.reserved(in_use, now) as fresh:
            running = await tools.processes.spawn(Mix(room_id, epoch, fresh, live.nonce, key))
    tools.inventory.add(running, anyio.current_time())
    tools.watch(running)
    log.info("mix.started", room=room_id, epoch=epoch, port=running.port, pid=running.pid)

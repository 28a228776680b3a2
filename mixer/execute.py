"""Carry out the plan: the only place of the mixer with side effects on etcd and FFmpeg."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio
import structlog

from mixer.api import Folders, Mix, NoPortError, Processes, Running, SpawnError
from mixer.inventory import Inventory
from mixer.plan import (
    Action,
    ForgetKey,
    RemoveFolder,
    Report,
    Self,
    StartMix,
    StopMix,
    Withdraw,
    starting,
)
from mixer.ports import Ports
from mixer.restarts import Restarts
from pkg.assignments import Assigned, Assignments
from pkg.errors import TransientError
from pkg.events.api import SILENT, Events
from pkg.events.records import FfmpegRestarted, FfmpegStarted, SegmentListed
from pkg.model import Epoch, LiveMeta, MixerState, MixerStatus, RoomId
from pkg.secrets import hls_key

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What acting needs. ``watch`` is told of each process that was started or found."""

    me: Self
    assignments: Assignments
    processes: Processes
    folders: Folders
    inventory: Inventory
    ports: Ports
    restarts: Restarts[tuple[RoomId, Epoch]]
    master: bytes
    watch: Callable[[Running], None]
    promised: Callable[[], set[int]]  # ports told to Janus of rooms whose FFmpeg is down
    events: Events = SILENT
    # begun here, and nothing of them published yet
    unlisted: set[tuple[RoomId, Epoch]] = field(default_factory=set)


class FolderError(TransientError):
    """The disk lets nothing be deleted: no reason to keep a place, or a room from ending."""


async def execute(tools: Tools, assigned: Assigned, action: Action) -> None:
    room_id = assigned.room_id
    match action:
        case StopMix(running, failed):
            await _stop(tools, running, failed)
        case StartMix():
            await _start_or_note(tools, assigned, action)
        case ForgetKey() | RemoveFolder():
            await _clean(tools, room_id, action)
        case Report(state):
            await tools.assignments.report(assigned, "mixer", state)
            log.info("mix.reported", room=room_id, status=state.status.value, reason=state.reason)
            _tell_listed(tools, room_id, state)
        case Withdraw(epochs):
            await tools.assignments.withdraw(assigned, "mixer", set(epochs))
            for epoch in epochs:
                tools.restarts.forget((room_id, epoch))
                tools.unlisted.discard((room_id, epoch))
            log.info("mix.withdrawn", room=room_id, epochs=sorted(epochs))


async def _clean(tools: Tools, room_id: RoomId, action: ForgetKey | RemoveFolder) -> None:
    try:
        if isinstance(action, ForgetKey):
            await tools.folders.forget_key(room_id, action.epoch)
            return
        await tools.folders.remove(room_id, action.epoch)
    except OSError as error:
        raise FolderError(f"{room_id}/{action.epoch} stays on disk: {error.strerror}") from error
    tools.inventory.removed_folder(room_id, action.epoch)


async def _stop(tools: Tools, running: Running, failed: str | None) -> None:
    now = anyio.current_time()
    with tools.inventory.ending(running) as since:
        await tools.processes.stop(running)
    tools.ports.rest(running.port, anyio.current_time())
    if failed is not None:
        lived = now - since if since is not None else 0.0
        tools.restarts.note((running.room_id, running.epoch), failed, lived, now)
    log.info("mix.stopped", room=running.room_id, epoch=running.epoch, failed=failed)


async def _start_or_note(tools: Tools, assigned: Assigned, action: StartMix) -> None:
    """What keeps FFmpeg from starting is reported and tried again later, as a crash would be."""
    try:
        await _start(tools, assigned, action)
    except (SpawnError, NoPortError) as error:
        room_id, now = assigned.room_id, anyio.current_time()
        tools.restarts.note((room_id, action.epoch), str(error), 0.0, now)
        log.warning("mix.start_failed", room=room_id, epoch=action.epoch, reason=str(error))


async def _start(tools: Tools, assigned: Assigned, action: StartMix) -> None:
    live, epoch, port = assigned.live, action.epoch, action.port
    if live is None:
        return
    mix = Mix(assigned.room_id, epoch, port or 0, live.nonce, _key(tools, live))
    in_use = tools.inventory.ports() | (tools.promised() - {port})
    if port is not None and port not in in_use and tools.processes.bindable(port):
        running = await tools.processes.spawn(mix)
    else:
        told = starting(tools.me, epoch, 0, action.failures, action.seams)
        running = await _spawn_on_a_quiet_port(tools, assigned, mix, told, in_use)
    tools.inventory.add(running, anyio.current_time())
    tools.watch(running)
    log.info("mix.started", room=assigned.room_id, epoch=epoch, port=running.port, pid=running.pid)
    _tell_started(tools, running, action)


def _tell_started(tools: Tools, running: Running, action: StartMix) -> None:
    """Of one that fails again and again not each time."""
    room_id, epoch, mixer = running.room_id, running.epoch, tools.me.mixer_id
    if action.port is None:
        tools.unlisted.add((room_id, epoch))
        tools.events.tell(
            FfmpegStarted(room_id=room_id, epoch=epoch, mixer=mixer, port=running.port)
        )
        return
    setback = tools.restarts.last((room_id, epoch))
    failures, why = (setback.failures, setback.reason) if setback else (1, "FFmpeg ended")
    if failures.bit_count() == 1:
        tools.events.tell(
            FfmpegRestarted(
                room_id=room_id, epoch=epoch, mixer=mixer, failures=failures, reason=why
            )
        )


def _tell_listed(tools: Tools, room_id: RoomId, state: MixerState) -> None:
    """Once an epoch: by the process that began it."""
    which = (room_id, state.epoch)
    if state.status is MixerStatus.PUBLISHING and which in tools.unlisted:
        tools.unlisted.remove(which)
        tools.events.tell(
            SegmentListed(room_id=room_id, epoch=state.epoch, mixer=tools.me.mixer_id)
        )


def _key(tools: Tools, live: LiveMeta) -> bytes:
    return hls_key(tools.master, live.room_id, live.nonce)


async def _spawn_on_a_quiet_port(
    tools: Tools, assigned: Assigned, mix: Mix, told: MixerState, in_use: set[int]
) -> Running:
    """On a pair that nobody has and nobody sends to. Raises NoPortError, SpawnError."""
    while True:
        with tools.ports.reserved(in_use, anyio.current_time()) as port:
            if tools.ports.is_unused(port) or not await tools.processes.is_noisy(port):
                state = told.model_copy(update={"port": port})
                return await _spawn_and_tell(tools, assigned, replace(mix, port=port), state)
        tools.ports.quarantine([port], anyio.current_time())
        log.warning("port.noisy", port=port)


async def _spawn_and_tell(tools: Tools, assigned: Assigned, mix: Mix, state: MixerState) -> Running:
    """Janus needs the port and not the process, so it is told of it while FFmpeg is spawned.

    (FFmpeg binds the port only some 50 ms after its spawn: a spawn that went well says no more.)
    What comes of it, or that the report did not get through, shows at the next look.
    """

    async def tell() -> None:
        try:
            await tools.assignments.report(assigned, "mixer", state)
        except TransientError as error:
            log.info("mix.not_told", room=mix.room_id, error=str(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell)
        try:
            outcome: Running | SpawnError = await tools.processes.spawn(mix)
        except SpawnError as error:
            outcome = error
    if isinstance(outcome, SpawnError):
        raise outcome
    return outcome

"""Drives real FFmpeg processes: the production side of ``mixer.api``. Linux, asyncio or trio.

A child must start safely beside grpc and outlive us: no preexec_fn, its own session, stdin from
/dev/null, output into a file (a pipe would kill or block it once we are gone). Children are kept
only to be reaped; what runs is always read from /proc.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection, Sequence

import anyio
import anyio.to_thread

from mixer import files, playlist, process, sockets
from mixer.api import Marker, Mix, Running, SpawnError, StopError
from mixer.cmdline import Limits, argv
from mixer.files import Layout
from mixer.health import Look
from mixer.sdp import PAYLOAD_TYPE
from pkg.model import Epoch, ModuleId, RoomId

PATH = "/usr/local/bin:/usr/bin:/bin"
TERM_SECONDS = 3.0
KILL_SECONDS = 2.0
NOISE_SECONDS = 0.07  # a forwarder sends every 20 ms
NUDGES = 3  # two in a row make a new RTP source believed (RFC 3550 §A.1); one is spare
OPUS_SILENCE = b"\xf8\xff\xfe"


def available_limits() -> Limits:
    """Confine with what this machine has."""
    return Limits(
        prlimit=shutil.which("prlimit", path=PATH),
        setpriv=shutil.which("setpriv", path=PATH),
        privileged=os.geteuid() == 0,
    )


class FfmpegProcesses:
    """Implements ``api.Processes`` and ``api.Folders``. ``address`` is the IP that RTP comes to."""

    def __init__(
        self,
        mixer_id: ModuleId,
        layout: Layout,
        address: str,
        *,
        ffmpeg: str = "ffmpeg",
        limits: Limits | None = None,
        segment_seconds: float = 2.0,
    ) -> None:
        self._mixer_id = mixer_id
        self._layout = Layout(layout.media.absolute(), layout.run.absolute())
        self._address = address
        self._ffmpeg = ffmpeg
        self._limits = limits or available_limits()
        self._segment_seconds = segment_seconds
        self._children: dict[int, Running | None] = {}  # None: not seen alive yet

    async def spawn(self, mix: Mix) -> Running:
        try:
            return await anyio.to_thread.run_sync(self._spawn, mix)
        except (OSError, ValueError) as error:
            raise SpawnError(f"cannot start FFmpeg for {mix.room_id}: {error}") from error

    def _spawn(self, mix: Mix) -> Running:
        before = files.newest_listed(self._layout, mix.room_id, mix.epoch)
        stream = files.prepare(self._layout, mix, self._address, self._segment_seconds)
        after = before.sequence if before else -1
        marker = Marker(self._mixer_id, mix.room_id, mix.epoch, mix.port, after)
        pid = self._start(argv(self._ffmpeg, stream, self._limits), marker)
        self._children[pid] = None
        found = process.seen(pid)
        if found is None:
            raise SpawnError(f"FFmpeg for {mix.room_id} ended at once: {self._words(marker)}")
        self._children[pid] = running = _running(found, marker)
        return running

    def _start(self, line: Sequence[str], marker: Marker) -> int:
        path = self._layout.log(marker.room_id, marker.epoch)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=path.parent,
                env={"PATH": PATH, **marker.environment()},
                start_new_session=True,
            )
        finally:
            os.close(log)
        child.returncode = 0  # disowned: it outlives us, and is reaped by its pid
        return child.pid

    async def list_running(self) -> Sequence[Running]:
        return await anyio.to_thread.run_sync(self._list_running)

    def _list_running(self) -> list[Running]:
        self._reap()
        marked = process.marked("ONAIR_MIXER", self._mixer_id)
        parsed = ((found, Marker.parse(environment)) for found, environment in marked)
        found = {seen.pid: _running(seen, marker) for seen, marker in parsed if marker}
        # A child in the midst of exec has no environment to be read, for a moment.
        for child in tuple(self._children.values()):  # other threads spawn and reap meanwhile
            if child is not None and process.is_alive(child.pid, child.started):
                found.setdefault(child.pid, child)
        return list(found.values())

    def _reap(self, pids: Collection[int] = ()) -> None:
        for pid in pids or tuple(self._children):
            if process.reap(pid):
                self._children.pop(pid, None)

    async def stop(self, running: Running) -> None:
        handle = process.Handle.open(running.pid, running.started)
        if handle is not None:
            with handle:
                await self._end(handle, running)
        self._reap([running.pid])

    async def _end(self, handle: process.Handle, running: Running) -> None:
        """A paused one would act on SIGTERM only when it goes on: it is killed at once."""
        name = f"{running.pid}.{running.started}"
        found = process.seen(running.pid)
        patience = 0.0 if found is not None and found.paused else TERM_SECONDS
        if patience and files.claim_stop(self._layout, running.room_id, running.epoch, name):
            handle.send(signal.SIGTERM)
        nudge(self._address, running.port)
        if await handle.gone_within(patience):
            return
        handle.send(signal.SIGKILL)
        if not await handle.gone_within(KILL_SECONDS):
            raise StopError(f"FFmpeg {running.pid} of {running.room_id} survives SIGKILL")

    async def exited(self, running: Running) -> None:
        handle = process.Handle.open(running.pid, running.started)
        if handle is not None:
            with handle:
                await handle.gone()
        self._reap([running.pid])

    def look(self, running: Running) -> Look:
        found = process.seen(running.pid)
        alive = found is not None and found.started == running.started
        text = files.read_playlist(self._layout, running.room_id, running.epoch)
        newest = playlist.newest(text or "")
        own = newest if newest and newest.sequence > running.after else None
        folder = self._layout.folder(running.room_id, running.epoch)
        return Look(
            alive=alive,
            paused=alive and found is not None and found.paused,
            newest=own,
            hollow=text == "" or (own is not None and files.is_empty(folder / own.name)),
            last_words="" if alive else self._words(running),
            seams=files.seams_so_far(self._layout, running.room_id, running.epoch, text or ""),
        )

    def unread(self, running: Running) -> int:
        return sockets.unread(running.port)

    def _words(self, whose: Running | Marker) -> str:
        return playlist.last_words(files.log_tail(self._layout, whose.room_id, whose.epoch))

    async def is_noisy(self, port: int) -> bool:
        return bool(await noisy_ports(self._address, [port], NOISE_SECONDS))

    def bindable(self, port: int) -> bool:
        return is_bindable(self._address, port) and is_bindable(self._address, port + 1)

    async def list_folders(self) -> Sequence[tuple[RoomId, Epoch]]:
        return await anyio.to_thread.run_sync(files.list_folders, self._layout)

    async def remove(self, room_id: RoomId, epoch: Epoch) -> None:
        await anyio.to_thread.run_sync(files.remove, self._layout, room_id, epoch)

    async def forget_key(self, room_id: RoomId, epoch: Epoch) -> None:
        await anyio.to_thread.run_sync(files.forget_key, self._layout, room_id, epoch)

    async def trim(self, room_id: RoomId, epoch: Epoch) -> None:
        await anyio.to_thread.run_sync(files.trim, self._layout, room_id, epoch)


def _running(found: process.Seen, marker: Marker) -> Running:
    return Running(
        marker.room_id, marker.epoch, marker.port, found.pid, found.started, marker.after
    )


def _udp(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def is_bindable(address: str, port: int) -> bool:
    with _udp(address) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def nudge(address: str, port: int) -> None:
    """Wake an FFmpeg that waits for RTP, so that it sees its SIGTERM: 16 ms instead of SIGKILL."""
    with _udp(address) as sender:
        for number in range(NUDGES):
            head = bytes((0x80, PAYLOAD_TYPE)) + number.to_bytes(2, "big") + bytes(8)
            try:
                sender.sendto(head + OPUS_SILENCE, (address, port))
            except OSError:  # it has closed the port: what we wanted
                return


async def noisy_ports(address: str, ports: Collection[int], seconds: float = 0.1) -> set[int]:
    """Free ports that somebody sends to: a forwarder of a room that is gone. Quarantine them.

    For start-up, when nobody remembers who used which port; a forwarder sends every 20 ms.
    """
    listening: dict[int, socket.socket] = {}
    try:
        for port in ports:
            probe = _udp(address)
            listening[port] = probe
            try:
                probe.bind((address, port))
            except OSError:
                listening.pop(port).close()
        await anyio.sleep(seconds)
        return {port for port, probe in listening.items() if _heard(probe)}
    finally:
        for probe in listening.values():
            probe.close()


def _heard(probe: socket.socket) -> bool:
    try:
        return bool(probe.recv(1, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False

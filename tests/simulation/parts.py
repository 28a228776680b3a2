"""Janus and FFmpeg as the simulation has them: the fakes, on hosts, joined by RTP.

Sound goes where the forwarders of a Janus that runs point: ``Studio.route`` is called after
whatever may have changed that. Every act of consequence is told to ``Studio.note``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from janusmanager.api import JanusRoom, Marker
from mixer.api import Mix, Running
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.fake_janus import FakeJanus
from tests.support.fake_processes import FakeProcess, FakeProcesses, Machine

Note: TypeAlias = Callable[..., None]
Address: TypeAlias = tuple[str, int]


@dataclass(eq=False)
class Host:
    """A media node: what runs and lies there outlives the mixer daemon, and dies with it."""

    name: str
    ip: str
    note: Note
    machine: Machine = field(default_factory=Machine)
    up: bool = True
    cursed: bool = False  # FFmpeg dies soon after each start

    def feed(self, ports: set[int]) -> None:
        before, self.machine.noisy = self.machine.noisy, ports
        for port in sorted(ports - before):
            self.machine.feed(port)
        for port in sorted(before - ports):
            self.machine.starve(port)

    def fed(self) -> list[FakeProcess]:
        return [p for p in self.machine.alive() if p.fed_since is not None]

    def kill_all(self) -> None:
        for process in self.machine.alive():
            self.machine.kill(process.running)


class SimProcesses(FakeProcesses):
    def __init__(self, mixer_id: ModuleId, host: Host) -> None:
        super().__init__(mixer_id, host.machine)
        self._note = host.note

    async def spawn(self, mix: Mix) -> Running:
        running = await super().spawn(mix)
        self._note("ffmpeg.spawned", mix.room_id, mix.epoch, running.port)
        return running

    async def stop(self, running: Running) -> None:
        await super().stop(running)
        self._note("ffmpeg.stopped", running.room_id, running.epoch)

    async def remove(self, room_id: RoomId, epoch: Epoch) -> None:
        await super().remove(room_id, epoch)
        self._note("folder.removed", room_id, epoch)


class SimJanus(FakeJanus):
    """Told to ``studio`` whatever its rooms go through."""

    def __init__(self, module_id: ModuleId, studio: "Studio") -> None:
        super().__init__(module_id)
        self._studio = studio
        self.running = True
        self.dark = False  # its host is off: nobody there even refuses
        self.frozen = False
        studio.januses.append(self)

    @property
    def sounds(self) -> bool:
        return self.running and not self.frozen

    def set_running(self, *, running: bool) -> None:
        if running != self.running:
            self.running = running
            (self.up if running else self.down)()
        self._studio.route()

    def set_frozen(self, *, frozen: bool) -> None:
        self.frozen = frozen
        self.freeze(frozen=frozen)
        self._studio.route()

    def mend(self) -> None:
        self.latency, self.dark = 0.0, False
        self.set_frozen(frozen=False)
        self.set_running(running=True)

    async def create_room(self, marker: Marker, number: int, pin: str, secret: str) -> JanusRoom:
        room = await super().create_room(marker, number, pin, secret)
        self._studio.note("room.created", self.module_id, str(marker), number)
        return room

    async def destroy_room(self, number: int, secret: str) -> None:
        await super().destroy_room(number, secret)
        self._studio.note("room.destroyed", self.module_id, number)
        self._studio.route()

    async def forward(self, number: int, secret: str, host: str, port: int, ssrc: int) -> int:
        stream_id = await super().forward(number, secret, host, port, ssrc)
        self._studio.note("forwarder.made", self.module_id, number, host, port, ssrc)
        self._studio.route()
        return stream_id

    async def stop_forward(self, number: int, secret: str, stream_id: int) -> None:
        await super().stop_forward(number, secret, stream_id)
        self._studio.note("forwarder.stopped", self.module_id, number, stream_id)
        self._studio.route()


@dataclass(eq=False)
class Studio:
    """All Januses and hosts, and the sound between them."""

    note: Note
    januses: list[SimJanus] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)

    def route(self) -> None:
        fed: dict[str, set[int]] = {host.ip: set() for host in self.hosts}
        for address in self.sources():
            fed.setdefault(address[0], set()).add(address[1])
        for host in self.hosts:
            if fed[host.ip] != host.machine.noisy:
                host.feed(fed[host.ip])

    def sources(self) -> dict[Address, set[str]]:
        """Where sound arrives, and of which rooms' markers."""
        found: dict[Address, set[str]] = {}
        for janus in self.januses:
            if janus.sounds:
                for room in janus.rooms.values():
                    for forwarder in room.forwarders.values():
                        where = (forwarder.host, forwarder.port)
                        found.setdefault(where, set()).add(room.description)
        return found

    def rooms(self) -> Sequence[tuple[SimJanus, int, Marker]]:
        return [
            (janus, number, marker)
            for janus in self.januses
            for number, room in sorted(janus.rooms.items())
            if (marker := Marker.parse(room.description)) is not None
        ]

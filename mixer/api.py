"""What the mixer needs from FFmpeg and the OS, and its failures.

Two implementations: ``driver`` and the tests' ``support.fake_processes``; one contract suite
(``tests/contract/test_processes_*.py``) runs on both. What runs is listed from the OS, never
remembered: a restarted mixer finds the processes of its predecessor by their marker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from mixer.health import Look
from pkg import keys
from pkg.errors import TransientError
from pkg.model import Epoch, ModuleId, RoomId


class SpawnError(TransientError):
    """FFmpeg could not be started or its files not be written; the text says why."""


class StopError(TransientError):
    """The process did not end although it was killed (stuck in the kernel); try again later."""


class NoPortError(TransientError):
    """Every RTP port pair is in use, quarantined or taken by a stranger."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What one FFmpeg is to do. ``key`` (16 bytes) is secret and never part of a repr."""

    room_id: RoomId
    epoch: Epoch
    port: int
    nonce: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Running:
    """A living FFmpeg of ours. ``pid`` with ``started`` (clock ticks since boot) names it for ever.

    ``after`` is the newest media sequence number its playlist listed before it began (-1: none),
    so that a predecessor's segments never pass for its own.
    """

    room_id: RoomId
    epoch: Epoch
    port: int
    pid: int
    started: int
    after: int = -1


class Processes(Protocol):
    async def spawn(self, mix: Mix) -> Running:
        """Write the room's files and start its FFmpeg; answers before anything is published.

        A port taken by somebody else shows as an exit within about 0.1 s, not here.
        Raises SpawnError. Cancelled in between, the process may run: ``list_running`` shows it.
        """
        ...

    async def list_running(self) -> Sequence[Running]:
        """Every living process of this mixer, whoever started it; the dead are reaped here."""
        ...

    async def stop(self, running: Running) -> None:
        """End it within about 5 s and reap it; it has closed its ports. Gone already: no error.

        Raises StopError. Safe to cancel and to call again: SIGTERM is sent only once.
        """
        ...

    async def exited(self, running: Running) -> None:
        """Wait until it is gone, for whatever reason; works for adopted processes too."""
        ...

    def look(self, running: Running) -> Look:
        """The facts its health is judged by, read now; about 0.1 ms."""
        ...

    def unread(self, running: Running) -> int:
        """Bytes of RTP that wait at its port, as the kernel counts them (with its overhead).

        A stuck FFmpeg lets them pile up, a starved one has none.
        """
        ...

    async def is_noisy(self, port: int) -> bool:
        """Whether somebody sends to a free port: listens for a few forwarder intervals (20 ms)."""
        ...

    def bindable(self, port: int) -> bool:
        """Whether ``port`` and ``port + 1`` can be bound by FFmpeg right now."""
        ...


class Folders(Protocol):
    """What is left on disk of a room's epochs: segments, playlist, runtime files."""

    async def list_folders(self) -> Sequence[tuple[RoomId, Epoch]]: ...

    async def remove(self, room_id: RoomId, epoch: Epoch) -> None:
        """Delete all files of that epoch; nothing there is no error. Not while it runs."""
        ...

    async def forget_key(self, room_id: RoomId, epoch: Epoch) -> None:
        """Delete its secrets and logs, and keep what listeners may still fetch."""
        ...

    async def trim(self, room_id: RoomId, epoch: Epoch) -> None:
        """Bound what FFmpeg does not: its log, and segments that killed ones left behind."""
        ...


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose a process is, carried in its environment, which outlives our restarts.

    >>> marker = Marker(ModuleId("m1"), RoomId("blue"), Epoch(7), 30000, -1)
    >>> marker.environment()["ONAIR_RTP_PORT"], Marker.parse(marker.environment()) == marker
    ('30000', True)
    >>> Marker.parse({**marker.environment(), "ONAIR_EPOCH": "x"}) is None
    True
    """

    mixer_id: ModuleId
    room_id: RoomId
    epoch: Epoch
    port: int
    after: int

    def environment(self) -> dict[str, str]:
        return {
            "ONAIR_MIXER": self.mixer_id,
            "ONAIR_ROOM": self.room_id,
            "ONAIR_EPOCH": str(self.epoch),
            "ONAIR_RTP_PORT": str(self.port),
            "ONAIR_AFTER": str(self.after),
        }

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Self | None:
        mixer, room = environment.get("ONAIR_MIXER", ""), environment.get("ONAIR_ROOM", "")
        if not (keys.is_module_id(mixer) and keys.is_room_id(room)):
            return None
        try:
            epoch, port, after = (
                int(environment[name]) for name in ("ONAIR_EPOCH", "ONAIR_RTP_PORT", "ONAIR_AFTER")
            )
        except (KeyError, ValueError):
            return None
        return cls(ModuleId(mixer), RoomId(room), Epoch(epoch), port, after)

"""The five lists: what etcd, the OS, every Janus, the disks and the ledger say at one time. Data.

``witness`` fills them in, ``judge`` compares them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from pkg import keys
from pkg.model import (
    Epoch,
    Heartbeat,
    Host,
    JanusState,
    Kind,
    LiveMeta,
    MixerState,
    ModuleId,
    Record,
    RoomId,
    Slot,
)

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Process:
    """A living FFmpeg that bears our marker."""

    pid: int
    mixer_id: ModuleId
    room: RoomId
    epoch: Epoch
    port: int


@dataclass(frozen=True, slots=True)
class Forward:
    stream_id: int
    host: str
    port: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class BridgeRoom:
    """An AudioBridge room. ``room`` and ``epoch`` are None for one that Onair did not make.

    ``users``: whom gateways brought in, each as often as he is there; looked at only while a
    gateway says that it has hosts of the room.
    """

    janus_id: ModuleId
    number: int
    room: RoomId | None = None
    epoch: Epoch | None = None
    forwards: tuple[Forward, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    mixer_id: ModuleId
    room: RoomId
    epoch: Epoch


@dataclass(frozen=True)
class Lists:
    """``mute`` Januses could not be asked: of them nothing is known. ``strangers`` are things that
    Onair did not make, in words; ``planted`` those that must be among them (I10).
    """

    keys: Mapping[str, bytes]
    processes: tuple[Process, ...] = ()
    ports: frozenset[int] = frozenset()
    bridges: tuple[BridgeRoom, ...] = ()
    mute: frozenset[ModuleId] = frozenset()
    folders: frozenset[Folder] = frozenset()
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()
    planted: frozenset[str] = frozenset()

    # -- etcd, decoded ---------------------------------------------------------------------

    def rooms(self) -> set[RoomId]:
        return {found[0] for key in self.keys if (found := keys.parse_room(key))}

    def live(self, room: RoomId) -> LiveMeta | None:
        return self._record(keys.room(room, "livemeta"), LiveMeta)

    def janus(self, room: RoomId) -> JanusState | None:
        return self._record(keys.room(room, "janus"), JanusState)

    def mixer(self, room: RoomId) -> MixerState | None:
        return self._record(keys.room(room, "mixer"), MixerState)

    def lives(self) -> Iterator[LiveMeta]:
        for room in sorted(self.rooms()):
            live = self.live(room)
            if live is not None:
                yield live

    def heartbeats(self) -> dict[tuple[Kind, ModuleId], Heartbeat]:
        """Of the modules that are alive."""
        found: dict[tuple[Kind, ModuleId], Heartbeat] = {}
        for key in self.keys:
            module = keys.parse_module(key)
            if module and module[2] == "heartbeat":
                beat = self._record(key, Heartbeat)
                if beat is not None:
                    found[module[0], module[1]] = beat
        return found

    def is_alive(self, kind: Kind, module_id: ModuleId) -> bool:
        return keys.heartbeat(kind, module_id) in self.keys

    def slots(self) -> Iterator[tuple[Kind, ModuleId, int, Slot]]:
        for key in sorted(self.keys):
            module = keys.parse_module(key)
            if module and module[2].startswith("slots/"):
                slot = self._record(key, Slot)
                if slot is not None:
                    yield module[0], module[1], int(module[2].removeprefix("slots/")), slot

    def ended(self) -> set[tuple[ModuleId, RoomId]]:
        """Mixers that still keep a stopped room's last playlist."""
        return {found for key in self.keys if (found := keys.parse_ended(key))}

    def hosts(self) -> Iterator[tuple[RoomId, str, Host | None]]:
        """Room and user of each key that a gateway holds for a host, and what stands there."""
        for key in sorted(self.keys):
            named = keys.parse_user(key) if key.startswith(keys.HOSTS) else None
            if named:
                yield *named, self._record(key, Host)

    def has_gateway(self, gateway_id: str) -> bool:
        return keys.gateway(gateway_id) in self.keys

    def _record(self, key: str, kind: type[R]) -> R | None:
        value = self.keys.get(key)
        try:
            return None if value is None else kind.decode(value)
        except ValidationError:
            return None

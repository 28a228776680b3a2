"""What Onair needs from Janus, and its failures. Two implementations: ``driver``, tests' fake.

Every verb is idempotent and ends within its deadline (3 s by default). After JanusUnavailableError
a change may have been made, or may still be made: list again and plan again, never assume.
A room's ``secret`` is the AudioBridge secret it was created with. One contract suite
(``tests/contract/test_janus_driver.py``) runs on both implementations.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from pkg import keys
from pkg.errors import TerminalError, TransientError
from pkg.janus.wire import JanusUnavailableError as JanusUnavailableError
from pkg.model import Epoch, ModuleId, RoomId


class RoomNumberTakenError(TransientError):
    """The number belongs to another room; create it under the next one."""

    def __init__(self, number: int) -> None:
        super().__init__(f"AudioBridge room {number} exists and is not this room's")
        self.number = number


class NoSuchRoomError(TransientError):
    """The AudioBridge room is gone (Janus restarted, or it was destroyed): list again."""

    def __init__(self, number: int) -> None:
        super().__init__(f"AudioBridge room {number} does not exist")
        self.number = number


class JanusRefusedError(TerminalError):
    """Wrong secret, key, version or configuration; the text names the setting to mend."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose an AudioBridge room is; stored in its description, which survives our restarts.

    >>> str(Marker(ModuleId("j1"), RoomId("blue"), Epoch(7)))
    'onair/j1/blue/7'
    >>> Marker.parse("onair/j1/blue/7") == Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))
    True
    >>> [Marker.parse(text) for text in ("Demo Room", "onair/j1/blue/x", "onair/j1/blue/07", None)]
    [None, None, None, None]
    """

    module_id: ModuleId
    room_id: RoomId
    janus_epoch: Epoch

    def __str__(self) -> str:
        return f"onair/{self.module_id}/{self.room_id}/{self.janus_epoch}"

    @classmethod
    def parse(cls, description: object) -> Self | None:
        """The marker, or None for a room that is not Onair's."""
        if not isinstance(description, str) or len(description) > 200:
            return None
        parts = description.split("/")
        if len(parts) != 4 or not parts[3].isascii() or not parts[3].isdigit():
            return None
        if not keys.is_module_id(parts[1]) or not keys.is_room_id(parts[2]):
            return None
        marker = cls(ModuleId(parts[1]), RoomId(parts[2]), Epoch(int(parts[3])))
        return marker if str(marker) == description else None


@dataclass(frozen=True, slots=True)
class JanusInfo:
    version: str
    plugins: frozenset[str]  # "janus.plugin.audiobridge", …


@dataclass(frozen=True, slots=True)
class JanusRoom:
    """A room that this module created."""

    number: int
    marker: Marker
    participants: int = 0


@dataclass(frozen=True, slots=True)
class Forwarder:
    """An RTP forwarder of a room; who made it shows in ``ssrc`` (``messages.is_our_ssrc``)."""

    stream_id: int
    host: str
    port: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in a room. ``connected``: media flows; ``talking`` is None if not measured."""

    participant_id: int
    display: str
    muted: bool = False
    connected: bool = False
    talking: bool | None = None


class Janus(Protocol):
    """One Janus. Any verb may raise JanusUnavailableError or JanusRefusedError, besides its own."""

    async def connection(self, after: int = 0) -> int:
        """Wait until connection number > ``after`` stands and was checked; answers its number.

        Each new number may be a restarted Janus, which has lost every room: list again.
        It also returns when Janus answers but is set up wrongly: the next verb then raises
        JanusRefusedError, saying how.
        """
        ...

    async def ping(self) -> float:
        """Seconds that Janus took to answer."""
        ...

    async def info(self) -> JanusInfo: ...

    async def list_rooms(self) -> tuple[JanusRoom, ...]:
        """This module's rooms, private ones too, by rising number; complete, or it raises."""
        ...

    async def create_room(self, marker: Marker, number: int, pin: str, secret: str) -> JanusRoom:
        """Create, or adopt the room of that very marker. Raises RoomNumberTakenError."""
        ...

    async def destroy_room(self, number: int, secret: str) -> None:
        """End a room with all in it; one that is gone is no error."""
        ...

    async def forward(self, number: int, secret: str, host: str, port: int, ssrc: int) -> int:
        """Send the mix as RTP/Opus to an IP address, exactly once; answers the stream id.

        Other forwarders of this ``ssrc`` are ended after the right one stands; those of
        another ssrc are left alone. Raises NoSuchRoomError; ValueError on a bad address or port.
        """
        ...

    async def forwarders(self, number: int, secret: str) -> tuple[Forwarder, ...]:
        """All forwarders of a room, by rising stream id. Raises NoSuchRoomError."""
        ...

    async def stop_forward(self, number: int, secret: str, stream_id: int) -> None:
        """End one forwarder; a forwarder or room that is gone is no error."""
        ...

    async def participants(self, number: int) -> tuple[Participant, ...]:
        """Raises NoSuchRoomError."""
        ...

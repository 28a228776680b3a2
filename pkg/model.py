"""Records as they are stored in etcd (contract.md §3). Data only: no I/O, no clock.

Stored as JSON with camelCase names. Unknown fields are kept, so that an older replica never
drops what a newer one wrote. Times are RFC 3339 UTC strings, epochs are etcd revisions.
"""

from enum import StrEnum
from typing import Any, NewType, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

RoomId = NewType("RoomId", str)
ModuleId = NewType("ModuleId", str)
Epoch = NewType("Epoch", int)


class Kind(StrEnum):
    """The two kinds of module that rooms are placed on."""

    JANUS = "janus"
    MIXER = "mixer"


class Desired(StrEnum):
    """``livemeta.status``: what the room manager wants of a started room."""

    ONAIR = "onair"
    STOPPING = "stopping"
    REMOVING = "removing"


class JanusStatus(StrEnum):
    ROOM_CREATED = "room_created"
    FORWARDING = "forwarding"


class MixerStatus(StrEnum):
    STARTING = "starting"
    PUBLISHING = "publishing"
    STARVED = "starved"
    FAILING = "failing"


class Mark(StrEnum):
    """An operator's word about a module; no key means READY."""

    READY = "ready"
    DRAINING = "draining"
    DISABLED = "disabled"


class Record(BaseModel):
    """Base of everything stored: frozen, camelCase outside, unknown fields kept."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )

    def encode(self) -> bytes:
        """JSON as stored: compact, without absent (None) fields, stable key order."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Raises pydantic.ValidationError on anything that is not this record."""
        return cls.model_validate_json(value)


class RoomMeta(Record):
    """/rooms/{roomId}/meta: the room exists. Rewritten when a life on air ends (see epochs)."""

    room_id: RoomId
    created_at: str
    call: str = ""  # which create or end of a life wrote it: known by it if the answer was lost
    pin_hash: str | None = None
    max_participants: int | None = None  # hosts at once; None: as the gateways are set
    metadata: dict[str, Any] = Field(default_factory=dict)


class Endpoints(Record):
    """Where a module's parts are reached; absent ones do not apply."""

    ws: str | None = None
    admin: str | None = None
    origin: str | None = None
    probe: str | None = None


class Previous(Record):
    """The mixer being replaced make-before-break; still fed and served, and it keeps its place."""

    mixer_id: ModuleId
    epoch: Epoch
    slot: int
    seams: int = 0  # as in LiveMeta, of that epoch
    endpoints: Endpoints


class LiveMeta(Record):
    """/rooms/{roomId}/livemeta: the wish for a started room, with its assignment."""

    room_id: RoomId
    status: Desired
    janus_id: ModuleId
    janus_epoch: Epoch
    janus_slot: int
    mixer_id: ModuleId
    mixer_epoch: Epoch
    mixer_slot: int
    epoch: Epoch
    nonce: str
    started_at: str
    on_air_at: str | None = None
    placed: dict[str, str] = Field(default_factory=dict)  # kind -> why there, in words
    moved: str | None = None  # why a half was last given to another module, in words
    call: str = ""  # who wrote it last, to be known by if the answer was lost; "": nobody says
    # EXT-X-DISCONTINUITYs of this time on air up to the first segment of mixer_epoch, which is
    # one of them unless it is the very first (RFC 8216 §4.3.3.3)
    seams: int = 0
    previous: Previous | None = None

    def module(self, kind: Kind) -> ModuleId:
        return self.janus_id if kind is Kind.JANUS else self.mixer_id

    def half_epoch(self, kind: Kind) -> Epoch:
        return self.janus_epoch if kind is Kind.JANUS else self.mixer_epoch

    def slot(self, kind: Kind) -> int:
        return self.janus_slot if kind is Kind.JANUS else self.mixer_slot


class JanusState(Record):
    """/rooms/{roomId}/janus: what the assigned Janus manager sees (``epoch``: janusEpoch).

    While ``forwarding``, ``mixer_epoch`` says which mixer epoch the mix goes to.
    """

    janus_id: ModuleId
    janus_room_id: int
    status: JanusStatus
    epoch: Epoch
    endpoints: Endpoints
    mixer_epoch: Epoch | None = None
    reason: str | None = None


class MixerState(Record):
    """/rooms/{roomId}/mixer: what the assigned mixer sees (``epoch``: mixerEpoch).

    ``failures``: how often in a row FFmpeg failed here under this epoch; ``seams``: how often it
    was started again under this epoch, each an EXT-X-DISCONTINUITY.
    """

    mixer_id: ModuleId
    ip: str
    port: int
    status: MixerStatus
    epoch: Epoch
    endpoints: Endpoints
    reason: str | None = None
    failures: int = 0
    seams: int = 0


class Heartbeat(Record):
    """/modules/{kind}/{moduleId}/heartbeat, on the module's lease."""

    # "healthy"; "busy" (takes no new room, keeps what it has) or "unhealthy" (its rooms should go
    # elsewhere), each with a reason. Of any other word nothing is concluded but "no new room".
    status: str
    host: str
    started_at: str
    capacity: int
    endpoints: Endpoints
    instance_id: str
    pid: int
    pid_started: float = 0.0  # the process's start time (psutil create_time), against pid reuse
    version: str = ""
    reason: str | None = None

    @property
    def healthy(self) -> bool:
        return self.status == "healthy"

    @property
    def ill(self) -> bool:
        return self.status == "unhealthy"


class MarkRecord(Record):
    """/modules/{kind}/{moduleId}/mark."""

    mark: Mark
    deadline_seconds: float | None = None
    deadline_at: str | None = None  # RFC 3339 UTC: when the mark was set, plus deadline_seconds


class Slot(Record):
    """/modules/{kind}/{moduleId}/slots/{n}: who holds place n of the module's capacity."""

    room_id: RoomId
    epoch: Epoch


class Ended(Record):
    """/onair/ended/{mixerId}/{roomId}: a stopped room's last playlist, served for 60 s more.

    On a 60 s lease. While it exists the mixer keeps that epoch's segments.
    """

    room_id: RoomId
    mixer_id: ModuleId
    epoch: Epoch
    nonce: str
    origin: str
    seams: int = 0  # as in LiveMeta, of that epoch


class Removed(Record):
    """/onair/removed: which call removed a room, the last one that was; see ``LiveMeta.call``.

    One key for all rooms: what it held before is looked up in etcd's history.
    """

    room_id: RoomId
    call: str


class Leader(Record):
    """/onair/leader/{task}: the room manager that does this task for all, on its lease."""

    instance_id: str
    host: str
    pid: int


class HostStatus(StrEnum):
    """How far a host has come."""

    CONNECTED = "connected"  # to the gateway
    JOINED = "joined"  # in the AudioBridge room, no media yet
    LIVE = "live"  # WebRTC is up: others hear him


class Gateway(Record):
    """/onair/gateways/{gatewayId}: a gateway that hosts can connect to, on its lease.

    ``url``: where browsers reach it, ``wss://…/ws``.
    """

    url: str
    host: str
    started_at: str
    instance_id: str
    pid: int
    version: str = ""


class Host(Record):
    """/onair/hosts/{roomId}/{userId}: the one live connection of this user, and who holds it.

    It is the lock (created under ``create_revision == 0``, or overwritten to take over) and the
    presence in one, on the gateway's lease. ``connection`` is fresh each time: its holder closes
    the socket (4410) when the key names another one.
    """

    room_id: RoomId
    user_id: str
    gateway_id: str
    connection: str
    token_id: str
    connected_at: str
    status: HostStatus = HostStatus.CONNECTED
    display: str | None = None
    muted: bool = False


class Order(Record):
    """/onair/orders/{roomId}/{userId}: a moderator's word to one connection, on a 60 s lease.

    ``muted``: mute him; or give back his voice if it was a moderator who took it (else he is
    only asked to unmute).
    """

    connection: str
    muted: bool
    by: str  # a user id, or "operator"


class Revocation(Record):
    """/onair/revoked/tokens/{jti} and /onair/revoked/users/{roomId}/{userId}, on a lease until
    every token concerned is over.

    ``before``: of a user, tokens issued at that second (since 1970) or earlier are void.
    ``kicked``: he was told to go (4403), rather than his token taken back (4401).
    ``given``: the second of a token that he was given since, if that was ahead of the clock.
    """

    before: int
    kicked: bool = False
    given: int = 0
    by: str = "operator"

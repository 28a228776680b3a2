"""What REST takes and gives (contract.md §2). Bodies forbid unknown fields; camelCase outside."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from pkg import keys
from pkg.model import (
    Host,
    HostStatus,
    JanusStatus,
    Kind,
    Mark,
    MixerStatus,
    ModuleId,
    RoomId,
)
from pkg.tokens import AIR, MAX_TTL_SECONDS, MODERATE, Role
from roommanager.facts import RoomFacts
from roommanager.fleet import Fleet, Module
from roommanager.prospects import Judged
from roommanager.status import RoomStatus, derive


def _room_id(text: str) -> str:
    if not keys.is_room_id(text):
        raise ValueError("use 1 to 64 of A-Z a-z 0-9 _ -, the first one a letter or digit")
    return text


def _shaped(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """A text of this pattern; anything else is told in words what to send."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(words)
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


RoomIdText = Annotated[str, AfterValidator(_room_id)]
PinText = Annotated[
    str, *_shaped(r"[\x21-\x7e]{4,64}", "use 4 to 64 letters, digits or ASCII signs; no spaces")
]
UserIdText = Annotated[
    str,
    *_shaped(
        keys.USER_ID_PATTERN,
        "use 1 to 128 of A-Z a-z 0-9 _ . @ : + -, the first one a letter or digit",
    ),
]


TokenIdText = Annotated[str, *_shaped(keys.JTI_PATTERN, "use the `jti` that the token holds")]
GrantText = Annotated[
    str, *_shaped(f"(?:{AIR}|{MODERATE})", f"there are the grants {AIR!r} and {MODERATE!r}")
]


class Body(BaseModel):
    """A request's body. Types are strict: "1" is no number, 1 is no text."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=False
    )


class Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def document(answer: Answer) -> dict[str, Any]:
    """As it is sent: absent fields are left out; nulls within ``metadata`` stay."""
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


class CreateRoom(Body):
    room_id: RoomIdText | None = Field(None, description="made up if absent: ro_ and a ULID")
    pin: PinText | None = Field(None, description="what listeners must know; not stored")
    max_participants: int | None = Field(
        None, ge=1, le=1000, description="hosts at once; if absent, as the gateways are set"
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="yours; given back as it is")


class Listen(Body):
    pin: str | None = Field(None, max_length=64)


class IssueToken(Body):
    user_id: UserIdText
    role: Literal["host", "listener"]
    ttl_seconds: int = Field(3600, ge=1, le=MAX_TTL_SECONDS)
    grants: list[GrantText] | None = Field(
        None,
        description="of a host: `air` may start and stop the room, `moderate` may mute, ask to "
        'unmute and kick others; `["air"]` if absent, `[]` for none',
    )

    @property
    def as_role(self) -> Role:
        return Role(self.role)


class Revoke(Body):
    """One of the two."""

    token_id: TokenIdText | None = Field(None, description="the token's `jti`: this one is void")
    user_id: UserIdText | None = Field(
        None, description="all tokens that this user was given of this room until now are void"
    )


class SetMark(Body):
    mark: Literal["ready", "draining", "disabled"]
    deadline_seconds: float | None = Field(
        None,
        ge=0,
        le=7 * 24 * 3600,
        description="after so long a draining Janus's rooms are moved; no effect on a mixer, whose "
        "rooms move at once",
    )

    @property
    def as_mark(self) -> Mark:
        return Mark(self.mark)


class JanusHalf(Answer):
    module_id: ModuleId
    room_id: int | None = Field(None, description="number of the AudioBridge room, six digits")
    status: JanusStatus | None = None


class MixerHalf(Answer):
    module_id: ModuleId
    host: str | None = None
    port: int | None = None
    status: MixerStatus | None = None


class Room(Answer):
    room_id: RoomId
    status: RoomStatus
    hls_url: str
    created_at: str
    started_at: str | None = None
    on_air_at: str | None = None
    epoch: int
    janus: JanusHalf | None = None
    mixer: MixerHalf | None = None
    has_pin: bool
    max_participants: int | None = None
    metadata: dict[str, Any]


class RoomPage(Answer):
    rooms: list[Room]
    next_cursor: str | None = None


class Explanation(Answer):
    """Desired beside observed state, and why the room is (not) on air."""

    room_id: RoomId
    status: RoomStatus
    reason: str
    placed: dict[str, str] = Field(description="kind → which module, and why that one")
    moved: str | None = Field(None, description="from where to where it last moved, and why")
    desired: dict[str, Any] | None = None
    observed: dict[str, Any]
    modules: dict[str, "ModuleView | None"]


class ModuleView(Answer):
    kind: Kind
    module_id: ModuleId
    health: Literal["healthy", "busy", "unhealthy", "gone"] = Field(
        description="busy: keeps what it has; unhealthy: its rooms go elsewhere; gone: no lease"
    )
    reason: str | None = None
    mark: Mark
    deadline_at: str | None = Field(None, description="of a draining Janus: its rooms move then")
    capacity: int
    used: int
    host: str | None = None
    started_at: str | None = None
    version: str | None = None
    endpoints: dict[str, Any] = Field(default_factory=dict)


class Modules(Answer):
    modules: list[ModuleView]


class Problem(BaseModel):
    """RFC 9457. Some problems carry more: ``errors``, ``lacking``, ``explain``, ``room``."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="stable, for machines")


class Token(Answer):
    token: str
    expires_at: str


class IssuedToken(Token):
    token_id: str = Field(description="the token's `jti`, to revoke it by")


class ListenToken(Token):
    hls_url: str


class Revoked(Answer):
    """What is void now. ``before``: tokens issued at that second or earlier."""

    token_id: str | None = None
    user_id: str | None = None
    before: str


class Participant(Answer):
    user_id: str
    display: str | None = None
    status: HostStatus
    muted: bool
    connected_at: str
    gateway_id: str


class Participants(Answer):
    participants: list[Participant]


class Kicked(Answer):
    user_id: str


class PagesConfig(Answer):
    gateways: list[str] = Field(description="where hosts connect; any of them will do")
    history: str | None = Field(
        None, description="with a room's id behind it: its stream; absent: no history is written"
    )


def room(facts: RoomFacts, public_url: str) -> Room:
    """A room that exists, as REST shows it. What belongs to an older epoch is not shown."""
    meta, live = facts.meta, facts.live
    if meta is None:
        raise ValueError("a room without meta does not exist")
    janus = facts.janus if live and facts.janus and facts.janus.epoch == live.janus_epoch else None
    mixer = facts.mixer if live and facts.mixer and facts.mixer.epoch == live.mixer_epoch else None
    return Room(
        room_id=facts.room_id,
        status=derive(facts),
        hls_url=hls_url(public_url, facts.room_id),
        created_at=meta.created_at,
        started_at=live.started_at if live else None,
        on_air_at=live.on_air_at if live else None,
        epoch=live.epoch if live else 0,
        janus=JanusHalf(
            module_id=live.janus_id,
            room_id=janus.janus_room_id if janus else None,
            status=janus.status if janus else None,
        )
        if live
        else None,
        mixer=MixerHalf(
            module_id=live.mixer_id,
            host=mixer.ip if mixer else None,
            port=mixer.port if mixer else None,
            status=mixer.status if mixer else None,
        )
        if live
        else None,
        has_pin=meta.pin_hash is not None,
        max_participants=meta.max_participants,
        metadata=meta.metadata,
    )


def participant(host: Host) -> Participant:
    return Participant(
        user_id=host.user_id,
        display=host.display,
        status=host.status,
        muted=host.muted,
        connected_at=host.connected_at,
        gateway_id=host.gateway_id,
    )


def hls_url(public_url: str, room_id: RoomId) -> str:
    return f"{public_url}/hls/{room_id}/live.m3u8"


def module(found: Module, judged: Judged) -> ModuleView:
    beat = found.heartbeat
    doubt = judged(found.kind, found.module_id).reason if beat is None and found.slots else None
    return ModuleView(
        kind=found.kind,
        module_id=found.module_id,
        health=_health(found),
        reason=doubt or found.unhealthy,
        mark=found.mark,
        deadline_at=found.deadline_at,
        capacity=found.capacity or 0,
        used=len(found.slots),
        host=beat.host if beat else None,
        started_at=beat.started_at if beat else None,
        version=beat.version if beat else None,
        endpoints=beat.endpoints.model_dump(exclude_none=True) if beat else {},
    )


def modules(fleet: Fleet, judged: Judged) -> Modules:
    found = sorted(
        (m for kind in Kind for m in fleet.of(kind)), key=lambda m: (m.kind, m.module_id)
    )
    return Modules(modules=[module(m, judged) for m in found])


def _health(found: Module) -> Literal["healthy", "busy", "unhealthy", "gone"]:
    if found.heartbeat is None:
        return "gone"
    if found.unhealthy is None:
        return "healthy"
    return "unhealthy" if found.heartbeat.ill else "busy"


def explanation(facts: RoomFacts, fleet: Fleet, why: str, judged: Judged) -> Explanation:
    live = facts.live

    def view(kind: Kind) -> ModuleView | None:
        found = fleet.get(kind, live.module(kind)) if live else None
        return module(found, judged) if found else None

    observed = {"janus": facts.janus, "mixer": facts.mixer}
    return Explanation(
        room_id=facts.room_id,
        status=derive(facts),
        reason=why,
        placed=live.placed if live else {},
        moved=live.moved if live else None,
        # The nonce is needed for the key's address only; an explanation can do without.
        desired=live.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"nonce"})
        if live
        else None,
        observed={
            name: state.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, state in observed.items()
            if state is not None
        },
        modules={kind.value: view(kind) for kind in Kind} if live else {},
    )

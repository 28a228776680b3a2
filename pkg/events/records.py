"""What can be told of a room: one frozen record a kind, as it stands in the room's stream.

For an operator's timeline: turning points, nothing that comes by the second. ``line`` adds what
every event has in common: ``at`` (RFC 3339, UTC, milliseconds) and ``by`` (which daemon).
"""

import json
from typing import Literal

from pydantic import Field

from pkg.model import Epoch, Kind, ModuleId, Record, RoomId

MAX_TEXT = 500  # characters of one field: an FFmpeg's last words can be a page


class Event(Record):
    """``type`` is ``noun.verb``."""

    type: str
    room_id: RoomId


class RoomCreated(Event):
    type: Literal["room.created"] = "room.created"


class RoomAssigned(Event):
    """A start has found its places. ``reasons``: kind -> why there, in words."""

    type: Literal["room.assigned"] = "room.assigned"
    epoch: Epoch
    janus: ModuleId
    mixer: ModuleId
    reasons: dict[str, str]


class RoomStarted(Event):
    """On air for the first time since its start."""

    type: Literal["room.started"] = "room.started"
    epoch: Epoch


class RoomDegraded(Event):
    type: Literal["room.degraded"] = "room.degraded"
    epoch: Epoch
    reason: str


class RoomRecovered(Event):
    type: Literal["room.recovered"] = "room.recovered"
    epoch: Epoch


class RoomMoved(Event):
    """One half has another module, under a new epoch."""

    type: Literal["room.moved"] = "room.moved"
    epoch: Epoch
    kind: Kind
    old: ModuleId = Field(alias="from")
    new: ModuleId = Field(alias="to")
    why: str


class RoomStopping(Event):
    type: Literal["room.stopping"] = "room.stopping"
    epoch: Epoch


class RoomStopped(Event):
    type: Literal["room.stopped"] = "room.stopped"
    epoch: Epoch


class RoomRemoving(Event):
    """It is to be deleted, once its modules have ended their part."""

    type: Literal["room.removing"] = "room.removing"
    epoch: Epoch


class RoomDeleted(Event):
    type: Literal["room.deleted"] = "room.deleted"


class JanusRoomCreated(Event):
    """``number``: of the AudioBridge room."""

    type: Literal["janus_room.created"] = "janus_room.created"
    epoch: Epoch
    janus: ModuleId
    number: int


class ForwarderMade(Event):
    """The mix goes from this Janus to that address."""

    type: Literal["forwarder.made"] = "forwarder.made"
    epoch: Epoch
    janus: ModuleId
    host: str
    port: int


class FfmpegStarted(Event):
    type: Literal["ffmpeg.started"] = "ffmpeg.started"
    epoch: Epoch
    mixer: ModuleId
    port: int


class FfmpegRestarted(Event):
    """After ``failures`` in a row; told of the 1st, 2nd, 4th, 8th, … only."""

    type: Literal["ffmpeg.restarted"] = "ffmpeg.restarted"
    epoch: Epoch
    mixer: ModuleId
    failures: int
    reason: str


class SegmentListed(Event):
    """The first segment of this epoch can be fetched."""

    type: Literal["segment.listed"] = "segment.listed"
    epoch: Epoch
    mixer: ModuleId


class HostJoined(Event):
    type: Literal["host.joined"] = "host.joined"
    user_id: str


class HostLeft(Event):
    type: Literal["host.left"] = "host.left"
    user_id: str


class EventsDropped(Event):
    """Here stood ``count`` events at most that were lost: the stream server was away too long."""

    type: Literal["events.dropped"] = "events.dropped"
    count: int


def line(event: Event, at: str, by: str) -> bytes:
    """One line of JSON, whatever the texts in it are.

    >>> line(RoomMoved(room_id="a", epoch=7, kind="mixer", old="m1", new="m2", why="x"), "T", "r/1")
    b'{"type":"room.moved","roomId":"a","at":"T","by":"r/1","epoch":7,"kind":"mixer","from":"m1",\
"to":"m2","why":"x"}'
    """
    told = event.model_dump(by_alias=True, exclude_none=True)
    head = {"type": told.pop("type"), "roomId": told.pop("roomId"), "at": at, "by": by}
    found = head | {name: _plain(value) for name, value in told.items()}
    return json.dumps(found, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    """Texts short, and without halves of surrogate pairs, which no server takes."""
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value

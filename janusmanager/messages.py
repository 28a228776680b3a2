"""Janus's admin API and AudioBridge plugin as data: requests built, replies read. No I/O.

Sources: https://janus.conf.meetecho.com/docs/admin.html and …/audiobridge.html, checked against
Janus 1.1.2. Called by ``driver``; how a message is wrapped and matched is ``pkg.janus``'s.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from janusmanager.api import (
    Forwarder,
    JanusInfo,
    JanusRefusedError,
    JanusRoom,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    Participant,
    RoomNumberTakenError,
)
from pkg.errors import OnairError
from pkg.janus.wire import (
    CORE_OUR_FAULT,
    CORE_PLUGIN_NOT_FOUND,
    CORE_UNAUTHORIZED,
    INVALID_ELEMENT,
    MISSING_ELEMENT,
    NO_SUCH_ROOM,
    ROOM_EXISTS,
    UNAUTHORIZED,
    UNKNOWN_REQUEST,
    MalformedReplyError,
)
from pkg.janus.wire import PLUGIN as PLUGIN
from pkg.janus.wire import Body as Body
from pkg.janus.wire import Failure as Failure
from pkg.model import Epoch, ModuleId, RoomId

OPUS_PAYLOAD_TYPE = 111
SAMPLING_RATE = 48_000


def room_number(marker: Marker, attempt: int = 0) -> int:
    """A six-digit AudioBridge number, spread evenly; the same for the same arguments.

    Repeatable on purpose: a create that timed out and ran late is met again under its own
    number, and adopted, instead of leaving a second room.

    >>> marker = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))
    >>> room_number(marker), room_number(marker, 1)
    (414748, 409553)
    """
    digest = hashlib.sha256(f"{marker}#{attempt}".encode()).digest()
    return 100_000 + int.from_bytes(digest[:8], "big") % 900_000


def forwarder_ssrc(room_id: RoomId, mixer_epoch: Epoch) -> int:
    """The SSRC that marks our forwarder: upper half by the room, lower half by the epoch.

    >>> hex(forwarder_ssrc(RoomId("blue"), Epoch(0x1_0007)))
    '0x284e0007'
    """
    digest = hashlib.sha256(f"onair/forwarder/{room_id}".encode()).digest()
    upper = int.from_bytes(digest[:2], "big") or 1  # Janus reads 0 as "choose one"
    return upper << 16 | mixer_epoch & 0xFFFF


def is_our_ssrc(room_id: RoomId, ssrc: int) -> bool:
    """Whether Onair made this forwarder of the room, in any mixer epoch.

    >>> is_our_ssrc(RoomId("blue"), forwarder_ssrc(RoomId("blue"), Epoch(9)))
    True
    >>> is_our_ssrc(RoomId("blue"), 12345)
    False
    """
    return ssrc >> 16 == forwarder_ssrc(room_id, Epoch(0)) >> 16


# --- requests -----------------------------------------------------------------------------


def core(verb: str) -> Body:
    return {"janus": verb}


def plugin(body: Body) -> Body:
    """A request to the AudioBridge without a session."""
    return {"janus": "message_plugin", "plugin": PLUGIN, "request": body}


def listing(admin_key: str) -> Body:
    """Without a valid key private rooms are left out, silently."""
    return {"request": "list", "admin_key": admin_key}


def creation(admin_key: str, marker: Marker, number: int, pin: str, secret: str) -> Body:
    """Prebuffering 6 is Janus's default: 120 ms of jitter is borne before mixing.

    Whether a host talks is judged every 0.24 s (12 packets), by a mean above -50 dBov: told within
    half a second of when he begins.
    """
    return {
        "request": "create",
        "admin_key": admin_key,
        "room": number,
        "description": str(marker),
        "pin": pin,
        "secret": secret,
        "is_private": True,
        "permanent": False,
        "sampling_rate": SAMPLING_RATE,
        "audiolevel_ext": True,
        "audiolevel_event": True,
        "audio_active_packets": 12,
        "audio_level_average": 50,
        "default_prebuffering": 6,
        "allow_rtp_participants": True,
        "record": False,
    }


def destruction(number: int, secret: str) -> Body:
    return {"request": "destroy", "room": number, "secret": secret, "permanent": False}


def forwarding(
    admin_key: str, number: int, secret: str, address: str, port: int, ssrc: int
) -> Body:
    """``always_on``: an empty room sends silence, so that the stream never starves.

    Raises ValueError: Janus would take port 70000 as 4464, and block on a name to resolve.
    """
    if not 0 < port < 65536 or not 0 < ssrc < 1 << 32:
        raise ValueError(f"port {port} or ssrc {ssrc} out of range")
    return {
        "request": "rtp_forward",
        "admin_key": admin_key,
        "room": number,
        "secret": secret,
        "host": str(ipaddress.ip_address(address)),
        "port": port,
        "ssrc": ssrc,
        "codec": "opus",
        "ptype": OPUS_PAYLOAD_TYPE,
        "always_on": True,
    }


def forwarder_listing(number: int, secret: str) -> Body:
    return {"request": "listforwarders", "room": number, "secret": secret}


def forwarder_end(admin_key: str, number: int, secret: str, stream_id: int) -> Body:
    return {
        "request": "stop_rtp_forward",
        "admin_key": admin_key,
        "room": number,
        "secret": secret,
        "stream_id": stream_id,
    }


def participant_listing(number: int) -> Body:
    return {"request": "listparticipants", "room": number}


def unlocked_forwarding() -> Body:
    """A forward without the admin key: a Janus with ``lock_rtp_forward`` asks for the key."""
    body = forwarding("", 2**52, "", "127.0.0.1", 9, 1)
    del body["admin_key"]
    return body


# --- replies ------------------------------------------------------------------------------


def to_error(failure: Failure, number: int = 0) -> OnairError:
    """Our error for Janus's; ``number`` is the room that was asked about.

    >>> to_error(Failure(486, "Room 1 already exists", core=False), 1)
    RoomNumberTakenError("AudioBridge room 1 exists and is not this room's")
    >>> to_error(Failure(499, "Could not open UDP socket", core=False), 1)
    JanusUnavailableError('Janus failed: Could not open UDP socket (499)')
    """
    match failure:
        case Failure(core=False, code=code) if code == NO_SUCH_ROOM:
            return NoSuchRoomError(number)
        case Failure(core=False, code=code) if code == ROOM_EXISTS:
            return RoomNumberTakenError(number)
    if advice := _advice(failure, number):
        return JanusRefusedError(advice)
    return JanusUnavailableError(f"Janus failed: {failure.reason} ({failure.code})")


def _advice(failure: Failure, number: int) -> str | None:
    """What to mend; None if Janus only failed and may work the next time."""
    match failure:
        case Failure(core=True, code=code) if code == CORE_UNAUTHORIZED:
            return (
                "Janus refused the admin secret: the file that "
                "ONAIR_JANUS_MANAGER_ADMIN_SECRET_FILE names must hold general.admin_secret "
                "of janus.jcfg"
            )
        case Failure(core=True, code=code) if code == CORE_PLUGIN_NOT_FOUND:
            return f"Janus has not loaded {PLUGIN}: see plugins.disable in janus.jcfg"
        case Failure(core=True, code=code) if code in CORE_OUR_FAULT:
            return f"Janus does not understand us: {failure.reason} ({code}); Janus 1.1 is needed"
        case Failure(core=False, code=code) if code in {UNAUTHORIZED, MISSING_ELEMENT}:
            return _key_advice(failure.reason, number)
        case Failure(core=False, code=code) if code in {UNKNOWN_REQUEST, INVALID_ELEMENT}:
            return f"the AudioBridge does not accept our request: {failure.reason} ({code})"
    return None


def _key_advice(reason: str, number: int) -> str:
    if "admin_key" in reason:
        return (
            "the AudioBridge refused the admin key: the file that "
            "ONAIR_JANUS_MANAGER_ADMIN_KEY_FILE names must hold general.admin_key of "
            "janus.plugin.audiobridge.jcfg"
        )
    if "secret" in reason:
        return (
            f"AudioBridge room {number} was created with another secret: did the file that "
            "ONAIR_MASTER_SECRET_FILE names change? Put it back, or restart Janus"
        )
    return f"the AudioBridge refused: {reason}"


def read_info(body: Mapping[str, Any]) -> JanusInfo:
    """
    >>> read_info({"version_string": "1.1.2", "plugins": {"janus.plugin.audiobridge": {}}})
    JanusInfo(version='1.1.2', plugins=frozenset({'janus.plugin.audiobridge'}))
    """
    return JanusInfo(str(body.get("version_string", "?")), frozenset(body.get("plugins") or ()))


def read_rooms(body: Mapping[str, Any], module_id: ModuleId) -> tuple[JanusRoom, ...]:
    """The rooms that this module created, by number; other rooms are not ours to see."""
    rooms = (_room(item) for item in _items(body, "list"))
    ours = [room for room in rooms if room is not None and room.marker.module_id == module_id]
    return tuple(sorted(ours, key=lambda room: room.number))


def _room(item: Mapping[str, Any]) -> JanusRoom | None:
    marker = Marker.parse(item.get("description"))
    if marker is None:
        return None
    return JanusRoom(_integer(item, "room"), marker, int(item.get("num_participants", 0)))


def read_forwarders(body: Mapping[str, Any]) -> tuple[Forwarder, ...]:
    found = [
        Forwarder(
            _integer(item, "stream_id"),
            str(item.get("ip", "")),
            _integer(item, "port"),
            _integer(item, "ssrc"),
        )
        for item in _items(body, "rtp_forwarders")
    ]
    return tuple(sorted(found, key=lambda forwarder: forwarder.stream_id))


def read_stream_id(body: Mapping[str, Any]) -> int:
    return _integer(body, "stream_id")


def read_participants(body: Mapping[str, Any]) -> tuple[Participant, ...]:
    return tuple(
        Participant(
            participant_id=_integer(item, "id"),
            display=str(item.get("display", "")),
            muted=bool(item.get("muted", False)),
            connected=bool(item.get("setup", False)),
            talking=item.get("talking"),
        )
        for item in _items(body, "participants")
    )


def match_forwarders(
    existing: Iterable[Forwarder], address: str, port: int, ssrc: int
) -> tuple[int | None, tuple[int, ...]]:
    """The stream that already does this, if any, and the streams of this ssrc to be ended.

    >>> there = [Forwarder(1, "127.0.0.1", 5004, 9), Forwarder(2, "127.0.0.1", 5004, 9)]
    >>> match_forwarders(there, "127.0.0.1", 5004, 9)
    (1, (2,))
    >>> match_forwarders(there, "127.0.0.1", 5006, 9)
    (None, (1, 2))
    """
    same = [forwarder for forwarder in existing if forwarder.ssrc == ssrc]
    right = [f.stream_id for f in same if (f.host, f.port) == (address, port)]
    keep = right[0] if right else None
    return keep, tuple(f.stream_id for f in same if f.stream_id != keep)


def _items(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list that is missing is an error: absence is believed only from a complete answer."""
    items = body.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedReplyError(f"no list called {name}")
    return items


def _integer(item: Mapping[str, Any], name: str) -> int:
    value = item.get(name)
    if type(value) is not int:
        raise MalformedReplyError(f"{name} is not a number")
    return value

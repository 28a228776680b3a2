"""Every etcd key, and who may write it. The only module that spells keys.

================================  ==================  =======================================
key                               record              single writer
================================  ==================  =======================================
/rooms/{room}/meta                model.RoomMeta      room manager
/rooms/{room}/livemeta            model.LiveMeta      room manager
/rooms/{room}/janus               model.JanusState    the assigned Janus manager (1)
/rooms/{room}/mixer               model.MixerState    the assigned mixer (1)
/modules/{kind}/{id}/heartbeat    model.Heartbeat     the module, on its lease
/modules/{kind}/{id}/mark         model.MarkRecord    room manager, for an operator
/modules/{kind}/{id}/slots/{n}    model.Slot          room manager creates, the module deletes (1)
/onair/ended/{mixer}/{room}       model.Ended         room manager, on a 60 s lease
/onair/removed                    model.Removed       room manager, if events are told
/onair/leader/{task}              model.Leader        the elected room manager, on its lease
/onair/gateways/{id}              model.Gateway       the gateway, on its lease
/onair/hosts/{room}/{user}        model.Host          the gateway that holds the connection (2)
/onair/orders/{room}/{user}       model.Order         room manager, for a moderator, on a lease
/onair/revoked/tokens/{jti}       model.Revocation    room manager, on a lease
/onair/revoked/users/{room}/{user}  model.Revocation  room manager, on a lease
================================  ==================  =======================================

(1) Room managers also delete, guarded, what a module that is known dead left behind, and mend
slots that no longer match their room.
(2) Another gateway overwrites it, guarded, when the user asks to take over.

>>> room(RoomId("blue"), "meta")
'/rooms/blue/meta'
>>> parse_room("/rooms/blue/livemeta")
('blue', 'livemeta')
>>> slot(Kind.MIXER, ModuleId("m1"), 3)
'/modules/mixer/m1/slots/3'
>>> parse_module("/modules/mixer/m1/slots/3")
(<Kind.MIXER: 'mixer'>, 'm1', 'slots/3')
"""

import re
from typing import Literal, TypeAlias

from pkg.model import Kind, ModuleId, RoomId

RoomLeaf: TypeAlias = Literal["meta", "livemeta", "janus", "mixer"]

ROOMS = "/rooms/"
MODULES = "/modules/"
ENDED = "/onair/ended/"
REMOVED = "/onair/removed"
LEADER = "/onair/leader/"
GATEWAYS = "/onair/gateways/"
HOSTS = "/onair/hosts/"
ORDERS = "/onair/orders/"
REVOKED = "/onair/revoked/"
REVOKED_TOKENS = REVOKED + "tokens/"
REVOKED_USERS = REVOKED + "users/"

ROOM_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
MODULE_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
USER_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,127}"
JTI_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def is_room_id(text: str) -> bool:
    r"""
    >>> [is_room_id(t) for t in ("a", "a-b_9", "", "-a", "a\n", "a/b", "٣", "a" * 65)]
    [True, True, False, False, False, False, False, False]
    """
    return re.fullmatch(ROOM_ID_PATTERN, text, re.ASCII) is not None


def is_module_id(text: str) -> bool:
    return re.fullmatch(MODULE_ID_PATTERN, text, re.ASCII) is not None


def room(room_id: RoomId, leaf: RoomLeaf) -> str:
    return f"{ROOMS}{room_id}/{leaf}"


def room_prefix(room_id: RoomId) -> str:
    """Ends with a slash, so that room ``a`` never covers room ``ab``."""
    return f"{ROOMS}{room_id}/"


def module_prefix(kind: Kind, module_id: ModuleId) -> str:
    return f"{MODULES}{kind}/{module_id}/"


def heartbeat(kind: Kind, module_id: ModuleId) -> str:
    return module_prefix(kind, module_id) + "heartbeat"


def mark(kind: Kind, module_id: ModuleId) -> str:
    return module_prefix(kind, module_id) + "mark"


def slots_prefix(kind: Kind, module_id: ModuleId) -> str:
    return module_prefix(kind, module_id) + "slots/"


def slot(kind: Kind, module_id: ModuleId, number: int) -> str:
    return f"{slots_prefix(kind, module_id)}{number}"


def ended_prefix(mixer_id: ModuleId) -> str:
    return f"{ENDED}{mixer_id}/"


def ended(mixer_id: ModuleId, room_id: RoomId) -> str:
    return ended_prefix(mixer_id) + room_id


def leader(task: str) -> str:
    return LEADER + task


def is_user_id(text: str) -> bool:
    return re.fullmatch(USER_ID_PATTERN, text, re.ASCII) is not None


def is_token_id(text: str) -> bool:
    return re.fullmatch(JTI_PATTERN, text, re.ASCII) is not None


def gateway(gateway_id: str) -> str:
    return GATEWAYS + gateway_id


def hosts_prefix(room_id: RoomId) -> str:
    return f"{HOSTS}{room_id}/"


def host(room_id: RoomId, user_id: str) -> str:
    return hosts_prefix(room_id) + user_id


def orders_prefix(room_id: RoomId) -> str:
    return f"{ORDERS}{room_id}/"


def order(room_id: RoomId, user_id: str) -> str:
    return orders_prefix(room_id) + user_id


def revoked_token(token_id: str) -> str:
    return REVOKED_TOKENS + token_id


def revoked_user(room_id: RoomId, user_id: str) -> str:
    return f"{REVOKED_USERS}{room_id}/{user_id}"


def parse_user(key: str) -> tuple[RoomId, str] | None:
    """``…/{room}/{user}`` of hosts, orders and revoked users → (room, user); None for others.

    >>> parse_user("/onair/hosts/blue/ann@example.org"), parse_user("/onair/hosts/blue/")
    (('blue', 'ann@example.org'), None)
    """
    folders = f"{HOSTS}|{ORDERS}|{REVOKED_USERS}"
    match = re.fullmatch(rf"(?:{folders})({ROOM_ID_PATTERN})/({USER_ID_PATTERN})", key, re.ASCII)
    return (RoomId(match[1]), match[2]) if match else None


def parse_room(key: str) -> tuple[RoomId, str] | None:
    """``/rooms/{room}/{leaf}`` → (room, leaf); None for any other key."""
    match = re.fullmatch(rf"/rooms/({ROOM_ID_PATTERN})/([a-z]+)", key, re.ASCII)
    return (RoomId(match[1]), match[2]) if match else None


def parse_module(key: str) -> tuple[Kind, ModuleId, str] | None:
    """``/modules/{kind}/{id}/{rest}`` → (kind, id, rest); None for any other key."""
    match = re.fullmatch(rf"/modules/(janus|mixer)/({MODULE_ID_PATTERN})/(.+)", key, re.ASCII)
    return (Kind(match[1]), ModuleId(match[2]), match[3]) if match else None


def parse_ended(key: str) -> tuple[ModuleId, RoomId] | None:
    """``/onair/ended/{mixer}/{room}`` → (mixer, room); None for any other key.

    >>> parse_ended("/onair/ended/m1/blue"), parse_ended("/onair/ended/m1/")
    (('m1', 'blue'), None)
    """
    match = re.fullmatch(rf"{ENDED}({MODULE_ID_PATTERN})/({ROOM_ID_PATTERN})", key, re.ASCII)
    return (ModuleId(match[1]), RoomId(match[2])) if match else None

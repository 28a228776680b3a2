"""Janus's messages as data, in whichever of its two protocols. No I/O. Called by ``link``.

Sources: https://janus.conf.meetecho.com/docs/rest.html and …/admin.html, checked against Janus
1.1.2. A plugin's failure arrives inside ``"janus": "success"`` (admin API) or inside an event
(sessions); ``reply_of`` finds all kinds.

>>> reply_of(read('{"janus":"success","transaction":"4","response":{"audiobridge":"success"}}'))
Reply(transaction='4', body={'audiobridge': 'success'}, failure=None)
>>> reply_of(read('{"janus":"success","transaction":"5","response":{"error_code":485}}')).failure
Failure(code=485, reason='', core=False)
>>> event = '{"janus":"event","transaction":"6","plugindata":{"data":{"error_code":489}}}'
>>> reply_of(read(event)).failure
Failure(code=489, reason='', core=False)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pkg.errors import TransientError

PLUGIN = "janus.plugin.audiobridge"

# Error codes, from janus.h and janus_audiobridge.c
CORE_UNAUTHORIZED, CORE_PLUGIN_NOT_FOUND = 403, 460
CORE_OUR_FAULT = frozenset({450, 451, 452, 453, 454, 455, 456, 457, 467})
UNKNOWN_REQUEST, MISSING_ELEMENT, INVALID_ELEMENT = 482, 483, 484
NO_SUCH_ROOM, ROOM_EXISTS, UNAUTHORIZED = 485, 486, 489

Body: TypeAlias = dict[str, Any]

_ENDED_BY_ACK = frozenset({"keepalive", "trickle"})


class JanusUnavailableError(TransientError):
    """Janus did not answer in time, or is not connected. The change may happen later."""


class MalformedReplyError(JanusUnavailableError):
    """Not a message of Janus's: perhaps another server answers at this address."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as Janus words it. ``core``: Janus itself refused, not the AudioBridge."""

    code: int
    reason: str
    core: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """``body``: the plugin's answer to a request without a session, else the whole message."""

    transaction: str
    body: Mapping[str, Any]
    failure: Failure | None = None


def write(request: Body, transaction: str, credentials: Mapping[str, str]) -> str:
    """
    >>> write({"janus": "ping"}, "7", {"admin_secret": "s"})
    '{"janus":"ping","transaction":"7","admin_secret":"s"}'
    """
    message = request | {"transaction": transaction} | dict(credentials)
    return json.dumps(message, separators=(",", ":"))


def read(text: str | bytes) -> Body:
    """Raises MalformedReplyError."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise MalformedReplyError("not an object")
    return message


def is_promise(message: Body, request: Body) -> bool:
    """An ``ack`` that only says that the event of this transaction will come (or came before it).

    >>> ack = {"janus": "ack", "transaction": "7"}
    >>> is_promise(ack, {"janus": "message"}), is_promise(ack, {"janus": "keepalive"})
    (True, False)
    """
    return message.get("janus") == "ack" and request.get("janus") not in _ENDED_BY_ACK


def reply_of(message: Body) -> Reply:
    """Raises MalformedReplyError."""
    transaction = message.get("transaction")
    if not isinstance(transaction, str):
        raise MalformedReplyError("no transaction")
    if message.get("janus") == "error":
        return Reply(transaction, {}, _failure(message.get("error"), "code", "reason", core=True))
    body = message.get("response", message)
    if not isinstance(body, dict):
        raise MalformedReplyError("response is not an object")
    said = body if "error_code" in body else plugin_data(body)
    if "error_code" in said:
        return Reply(transaction, {}, _failure(said, "error_code", "error", core=False))
    return Reply(transaction, body)


def plugin_data(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the plugin says in an event; empty where there is nothing of the kind.

    >>> plugin_data({"plugindata": {"plugin": PLUGIN, "data": {"room": 1}}})
    {'room': 1}
    >>> plugin_data({"plugindata": []}), plugin_data({"plugindata": {"data": 1}})
    ({}, {})
    """
    outer = message.get("plugindata")
    data = outer.get("data") if isinstance(outer, dict) else None
    return data if isinstance(data, dict) else {}


def _failure(error: object, code: str, reason: str, *, core: bool) -> Failure:
    if not isinstance(error, dict) or not isinstance(error.get(code), int):
        raise MalformedReplyError("error without a code")
    return Failure(error[code], str(error.get(reason, ""))[:200], core)

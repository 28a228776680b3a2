r"""JSON-RPC 2.0 (jsonrpc.org/specification): frames in, answers and notifications out. Pure.

Stricter than the standard where a slip would go unnoticed (an unknown member, ``params`` as an
array), and forgiving in one thing: ``jsonrpc`` may be missing (contract.md §4).

>>> read('{"id": 1, "method": "ping"}').calls
(Call(method='ping', params={}, id=1, wants_answer=True),)
>>> read('[{"method": "mute"}, {"id": {}, "method": "mute"}]').calls[0]
Call(method='mute', params={}, id=None, wants_answer=False)
>>> for bad in ['{"id": 1, "method": 2}', '{"id": true, "method": "x"}', "[]", "7", "{", "\ud800",
...             '{"id": 1, "methd": "x"}', '{"id": 1, "method": "x", "params": [1]}',
...             '{"jsonrpc": "1.0", "id": 1, "method": "x"}', str([7] * 11)]:
...     for wrong in read(bad).calls: print(wrong.id, wrong.fault.code.value, wrong.fault.words)
1 -32600 method must be a string
None -32600 id must be a string, a number or null
None -32600 an empty batch
None -32600 a request must be an object
None -32700 not JSON: Expecting property name enclosed in double quotes at character 1
None -32700 not UTF-8
1 -32600 unknown member 'methd'
1 -32602 params must be an object
1 -32600 jsonrpc must be "2.0"
None -32600 11 requests in one batch; at most 10
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pkg import strictjson
from wsgateway.exchange import JsonId
from wsgateway.rules import Code, Fault

MAX_BATCH = 10
MAX_ID = 128  # characters
_MEMBERS = {"jsonrpc", "id", "method", "params"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request, or (``wants_answer`` False) a notification."""

    method: str
    params: dict[str, Any]
    id: JsonId
    wants_answer: bool


@dataclass(frozen=True, slots=True)
class Wrong:
    """No request at all; to be answered with ``fault``, under ``id`` where it could be read."""

    id: JsonId
    fault: Fault


@dataclass(frozen=True, slots=True)
class Frame:
    """What one text frame held. ``weight``: how many messages it counts for."""

    calls: tuple[Call | Wrong, ...]
    is_batch: bool = False
    weight: int = 1


def read(text: str) -> Frame:
    """Any text at all gives a Frame."""
    try:
        value = strictjson.loads(text.encode("utf-8", "surrogatepass"))
    except strictjson.MalformedError as error:
        return Frame((Wrong(None, Fault(Code.MALFORMED, str(error))),))
    if not isinstance(value, list):
        return Frame(tuple(_read_one(value)))
    if not value:
        return Frame((_invalid("an empty batch"),))
    if len(value) > MAX_BATCH:
        words = f"{len(value)} requests in one batch; at most {MAX_BATCH}"
        return Frame((_invalid(words),), weight=len(value))
    calls = tuple(call for item in value for call in _read_one(item))
    return Frame(calls, is_batch=True, weight=len(value))


def _read_one(value: Any) -> Iterable[Call | Wrong]:
    """Nothing of a notification whose params are no object: nobody wants to hear of it."""
    if not isinstance(value, dict):
        return [_invalid("a request must be an object")]
    call_id = value.get("id")
    if not _is_id(call_id):
        return [_invalid("id must be a string, a number or null")]
    if isinstance(call_id, str) and len(call_id) > MAX_ID:
        return [_invalid(f"id must have at most {MAX_ID} characters")]
    if words := _wrong_member(value):
        return [_invalid(words, call_id)]
    params = value.get("params")
    if params is not None and not isinstance(params, dict):
        fault = Fault(Code.INVALID_PARAMS, "params must be an object")
        return [Wrong(call_id, fault)] if "id" in value else []
    return [Call(value["method"], params or {}, call_id, "id" in value)]


def _wrong_member(value: dict[str, Any]) -> str | None:
    if unknown := sorted(value.keys() - _MEMBERS):
        return f"unknown member {unknown[0][:64]!r}"
    if value.get("jsonrpc", "2.0") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(value.get("method"), str):
        return "method must be a string"
    return None


def _is_id(value: Any) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _invalid(words: str, call_id: JsonId = None) -> Wrong:
    return Wrong(call_id, Fault(Code.INVALID_REQUEST, words))


# --- out ----------------------------------------------------------------------------------


def answer(call_id: JsonId, outcome: Any) -> dict[str, Any]:
    """
    >>> dump(answer(1, {"sdp": "…"}))
    '{"jsonrpc":"2.0","id":1,"result":{"sdp":"…"}}'
    >>> print(dump(answer(None, Fault(Code.NOT_JOINED, "join first")))[:58])
    {"jsonrpc":"2.0","id":null,"error":{"code":-32011,"message
    """
    if isinstance(outcome, Fault):
        return {"jsonrpc": "2.0", "id": call_id, "error": outcome.as_json()}
    return {"jsonrpc": "2.0", "id": call_id, "result": outcome}


def notification(method: str, params: dict[str, Any]) -> str:
    """
    >>> notification("participantLeft", {"userId": "ann"})
    '{"jsonrpc":"2.0","method":"participantLeft","params":{"userId":"ann"}}'
    """
    return dump({"jsonrpc": "2.0", "method": method, "params": params})


def dump(value: Any) -> str:
    """As it goes out: compact, and never what is no JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

"""What a control request asks for, read from its path and body; nothing is looked up yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from pkg import strictjson
from streams.protocol import offsets, paths
from streams.protocol.refusal import Refusal
from streams.subscriptions import globs
from streams.subscriptions.model import PULL, WEBHOOK, Config
from streams.subscriptions.refusals import Denied, bad_offset, invalid

PREFIX = f"{paths.ROOT}{paths.RESERVED}/"
KEYS = f"{PREFIX}jwks.json"
SUBSCRIPTIONS = f"{PREFIX}subscriptions/"
ACTIONS = ("streams", "callback", "claim", "ack", "release")
DEFAULT_LEASE_MS = 30_000
MIN_LEASE_MS, MAX_LEASE_MS = 1_000, 600_000
MAX_BODY_BYTES = 2**20
MAX_TEXT = 1024
MAX_NAME = 256

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """``action`` "" means the subscription itself, ``path`` one of its streams."""

    name: str
    action: str = ""
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    path: str
    position: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of its wake."""

    wake_id: object
    generation: object
    acks: Sequence[Ack]
    done: bool


def target(raw_path: str) -> Target:
    """Raises Denied 404, 400.

    >>> target("/v1/stream/__ds/subscriptions/a%2Fb/claim")
    Target(name='a/b', action='claim', path=None)
    >>> target("/v1/stream/__ds/subscriptions/a/streams/x%2Fy")
    Target(name='a', action='streams', path='x/y')
    """
    if not raw_path.startswith(SUBSCRIPTIONS):
        raise Denied(404, "SUBSCRIPTION_NOT_FOUND", "there is nothing of this name")
    name, slash, rest = raw_path.removeprefix(SUBSCRIPTIONS).partition("/")
    found = _text(name)
    if not 0 < len(found) <= MAX_NAME:
        raise invalid(f"a subscription's id has 1 to {MAX_NAME} characters")
    if not slash or rest in ACTIONS:
        return Target(found, rest)
    if rest.startswith("streams/"):
        return Target(found, "streams", globs.path(_text(rest.removeprefix("streams/"))))
    raise Denied(404, "SUBSCRIPTION_NOT_FOUND", "subscriptions have no such action")


def _text(quoted: str) -> str:
    try:
        return unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        raise invalid("the path is not UTF-8") from None


def body(data: bytes) -> Body:
    """A JSON object; nothing counts as an empty one. Raises Denied 400, 413."""
    if len(data) > MAX_BODY_BYTES:
        raise Denied(413, "INVALID_REQUEST", f"a body may have {MAX_BODY_BYTES} bytes at most")
    try:
        found = strictjson.loads(data) if data else {}
    except strictjson.MalformedError as error:
        raise invalid(str(error)) from None
    if not isinstance(found, dict):
        raise invalid("the body is no JSON object")
    return found


def config(given: Body) -> Config:
    """§6.2; where a webhook may go is judged elsewhere. Raises Denied."""
    kind = given.get("type")
    if kind not in {WEBHOOK, PULL}:
        raise invalid(f"type is {WEBHOOK} or {PULL}")
    pattern = _optional(given, "pattern")
    followed = streams(given) if given.get("streams") else ()
    if pattern is None and not followed:
        raise invalid("give pattern or streams")
    wake_stream = _optional(given, "wake_stream")
    if kind == PULL and wake_stream is None:
        raise invalid("a pull-wake subscription needs wake_stream")
    return Config(
        str(kind),
        globs.pattern(pattern) if pattern else None,
        tuple(sorted(set(followed))),
        _url(given) if kind == WEBHOOK else None,
        globs.path(wake_stream) if wake_stream else None,
        _lease(given),
        _optional(given, "description"),
    )


def streams(given: Body) -> tuple[str, ...]:
    """Raises Denied."""
    found = given.get("streams")
    if not isinstance(found, list):
        raise invalid("streams is a list of paths")
    return tuple(globs.path(_string(one, "streams")) for one in found)


def _optional(given: Body, name: str) -> str | None:
    found = given.get(name)
    return None if found is None or found == "" else _string(found, name)


def _string(found: object, name: str) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= MAX_TEXT:
        raise invalid(f"{name} is a text of 1 to {MAX_TEXT} characters")
    return found


def _url(given: Body) -> str:
    hook = given.get("webhook")
    return _string(hook.get("url") if isinstance(hook, dict) else None, "webhook.url")


def _lease(given: Body) -> int:
    found = given.get("lease_ttl_ms", DEFAULT_LEASE_MS)
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not isinstance(found, int) or not whole or not MIN_LEASE_MS <= found <= MAX_LEASE_MS:
        raise invalid(f"lease_ttl_ms is a whole number from {MIN_LEASE_MS} to {MAX_LEASE_MS}")
    return found


def worker(given: Body) -> str:
    return _string(given.get("worker"), "worker")


def report(given: Body) -> Report:
    """Raises Denied."""
    acks = given.get("acks") or []
    if not isinstance(acks, list):
        raise invalid("acks is a list")
    found = [_ack(one) for one in acks]
    return Report(given.get("wake_id"), given.get("generation"), found, given.get("done") is True)


def _ack(given: object) -> Ack:
    if not isinstance(given, dict):
        raise invalid("an ack has stream and offset")
    where = globs.path(_string(given.get("stream", given.get("path")), "stream"))
    try:
        return Ack(where, offsets.exact(_string(given.get("offset"), "offset")))
    except Refusal as refusal:
        raise bad_offset(refusal.detail) from None

"""Subscriptions in memory, and the notes they are kept as (``streams.wal.records.Noted``).

Two kinds of notes: ``s/ID`` holds a subscription, ``l/ID/PATH`` a link's cursor, so that an ack
writes no more than what it changes. A cursor belongs to a stream by its number: when a path is
deleted and taken again, the cursor counts from the new stream's beginning.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from urllib.parse import quote, unquote

from streams.wal.records import DecodeError, Noted

WEBHOOK, PULL = "webhook", "pull-wake"


@dataclass(frozen=True, slots=True)
class Config:
    """What was asked for, normalised; compared whole when it is asked for again (§6.2)."""

    type: str
    pattern: str | None
    streams: tuple[str, ...]
    url: str | None
    wake_stream: str | None
    lease_ttl_ms: int
    description: str | None

    @property
    def lease_seconds(self) -> float:
        return self.lease_ttl_ms / 1000


@dataclass(slots=True)
class Link:
    """A stream that is followed. ``sid`` None: there was none of that name yet."""

    path: str
    sid: int | None
    acked: int
    explicit: bool = False
    glob: bool = False

    @property
    def kind(self) -> str:
        return "explicit" if self.explicit else "glob"


@dataclass(slots=True)
class Wake:
    """One generation. ``lease_until`` on our own clock; ``snapshot``: stream to (number, tail).

    Both, and ``under_way``, are of this process: a start begins leases anew and tells again.
    """

    wake_id: str
    holder: str | None = None
    delivered: bool = False
    lease_until: float | None = None
    snapshot: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    under_way: bool = False


@dataclass(slots=True)
class Subscription:
    """``next_attempt_at`` in Unix seconds, since it outlives the process (§7.1).

    ``fresh``: the only links that may have news, so that nobody looks at thousands of quiet ones.
    """

    name: str
    config: Config
    created_at: str
    generation: int = 0
    wake: Wake | None = None
    failures: int = 0
    next_attempt_at: float | None = None
    links: dict[str, Link] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    @property
    def status(self) -> str:
        return "failed" if self.failures else "active"


def note(one: Subscription) -> Noted:
    wake = one.wake
    kept = {
        "config": asdict(one.config),
        "created_at": one.created_at,
        "generation": one.generation,
        "wake": [wake.wake_id, wake.holder, wake.delivered] if wake else None,
        "failures": one.failures,
        "next_attempt_at": one.next_attempt_at,
    }
    return Noted(_key(one.name), json.dumps(kept))


def link_note(one: Subscription, link: Link) -> Noted:
    kept = [link.sid, link.acked, link.explicit, link.glob]
    return Noted(_link_key(one.name, link.path), json.dumps(kept))


def gone_note(one: Subscription, link: Link) -> Noted:
    return Noted(_link_key(one.name, link.path), None)


def end_notes(one: Subscription) -> list[Noted]:
    """Nothing is left of it."""
    return [Noted(_key(one.name), None), *(gone_note(one, link) for link in one.links.values())]


def _key(name: str) -> str:
    return f"s/{quote(name, safe='')}"


def _link_key(name: str, path: str) -> str:
    return f"l/{quote(name, safe='')}/{path}"


def load(notes: Mapping[str, str]) -> dict[str, Subscription]:
    """Raises DecodeError."""
    try:
        kept = {key: json.loads(value) for key, value in notes.items()}
        found = {key[2:]: _read(key, value) for key, value in kept.items() if key[:2] == "s/"}
        for key, value in kept.items():
            if key[:2] == "l/":
                owner, _, path = key[2:].partition("/")
                found[owner].links[path] = Link(path, *value)
                found[owner].fresh.add(path)
    except (ValueError, TypeError, KeyError) as error:
        raise DecodeError(f"a subscription cannot be read: {error}") from None
    return {one.name: one for one in found.values()}


def _read(key: str, kept: Mapping[str, object]) -> Subscription:
    fields = dict(kept)
    config, wake = fields.pop("config"), fields.pop("wake")
    if not isinstance(config, dict) or not (wake is None or isinstance(wake, list)):
        raise TypeError(f"{key} has other fields")
    config["streams"] = tuple(config["streams"])
    made = Wake(*wake) if wake else None
    return Subscription(unquote(key[2:]), Config(**config), wake=made, **fields)  # type: ignore[arg-type]

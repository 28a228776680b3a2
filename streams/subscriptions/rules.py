"""What a subscription's state means, and what is to be done about it next: pure (§7).

``now`` is our own clock, ``wall`` Unix seconds: only a retry's time outlives the process.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from streams.protocol.offsets import token
from streams.store.state import Stream
from streams.subscriptions.model import Link, Subscription
from streams.subscriptions.refusals import bad_offset, fenced
from streams.subscriptions.requests import Report
from streams.subscriptions.signing import Claim

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 60.0
JITTER = 0.2
MAX_LISTED = 1000  # streams told of in one wake; the others come with a later one

Streams = Mapping[str, Stream]


@dataclass(frozen=True, slots=True)
class Begin:
    """A new generation."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """The lease is over: whoever held it is fenced off."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Tell of the present wake."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now; ``seconds`` None: until something happens."""

    seconds: float | None = None


Step: TypeAlias = Begin | Lapse | Deliver | Wait


@dataclass(frozen=True, slots=True)
class Info:
    """A link as workers see it. ``sid``: the stream it stands for now, if there is one."""

    link: Link
    sid: int | None
    acked: int
    tail: int

    @property
    def pending(self) -> bool:
        return self.tail > self.acked

    def line(self) -> dict[str, object]:
        return {
            "path": self.link.path,
            "link_type": self.link.kind,
            "acked_offset": token(self.acked),
            "tail_offset": token(self.tail),
            "has_pending": self.pending,
        }


def info(link: Link, streams: Streams) -> Info:
    """A cursor of an earlier stream of this name counts from the present one's beginning."""
    stream = streams.get(link.path)
    if stream is None or stream.durable.gone:
        return Info(link, None, link.acked, link.acked)
    acked = link.acked if link.sid == stream.sid else 0
    return Info(link, stream.sid, acked, stream.durable.tail)


def infos(one: Subscription, streams: Streams) -> list[Info]:
    """What a wake tells of: first what has news."""
    found = {x.link.path: x for x in islice(_pending(one, streams), MAX_LISTED)}
    quiet = (link for path, link in one.links.items() if path not in found)
    others = [info(link, streams) for link in islice(quiet, MAX_LISTED - len(found))]
    return [*found.values(), *others]


def _pending(one: Subscription, streams: Streams) -> Iterator[Info]:
    """Forgets on the way what has no news after all."""
    for path in list(one.fresh):
        found = info(one.links[path], streams) if path in one.links else None
        if found is not None and found.pending:
            yield found
        else:
            one.fresh.discard(path)


def first_pending(one: Subscription, streams: Streams) -> str | None:
    return next((found.link.path for found in _pending(one, streams)), None)


def next_step(one: Subscription, streams: Streams, now: float, wall: float) -> Step:
    wake = one.wake
    if wake is None:
        if first_pending(one, streams) is None:
            return Wait()
        return _not_before(one, wall, Begin())
    if wake.under_way:
        return Wait()
    if wake.lease_until is not None and now >= wake.lease_until:
        return Lapse()
    if not wake.delivered:
        return _not_before(one, wall, Deliver())
    return Wait(None if wake.lease_until is None else wake.lease_until - now)


def _not_before(one: Subscription, wall: float, step: Step) -> Step:
    """After a failure, only at the time that was set for the next try; a clock that was put back
    keeps nobody waiting longer than the longest pause."""
    if one.next_attempt_at is None or wall >= one.next_attempt_at:
        return step
    return Wait(min(one.next_attempt_at - wall, MAX_RETRY_SECONDS * (1 + JITTER)))


def retry_seconds(failures: int, rng: random.Random) -> float:
    """
    >>> rng = random.Random(1)
    >>> [round(retry_seconds(n, rng) / min(60, 2 ** (n - 1))) for n in (1, 2, 7, 10_000)]
    [1, 1, 1, 1]
    """
    pause: float = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 10), MAX_RETRY_SECONDS)
    return pause * rng.uniform(1 - JITTER, 1 + JITTER)


def expect_current(one: Subscription, claim: Claim, report: Report) -> None:
    """§7.3: token, generation and wake, all of the present wake. Raises Denied 409."""
    wake_id = one.wake.wake_id if one.wake else None
    told = (claim.generation, report.generation, report.wake_id)
    if wake_id is None or told != (one.generation, one.generation, wake_id):
        raise fenced()


def acked(one: Subscription, streams: Streams, report: Report) -> Sequence[tuple[Link, int, int]]:
    """(link, stream's number, position) for each ack; all or none. Raises Denied 409."""
    found: list[tuple[Link, int, int]] = []
    reached: dict[str, int] = {}
    for ack in report.acks:
        link, stream = one.links.get(ack.path), streams.get(ack.path)
        if link is None or stream is None or stream.durable.gone:
            raise bad_offset("an ack names a stream that is not followed")
        seen = info(link, streams)
        if ack.position < reached.get(ack.path, seen.acked):
            raise bad_offset("an ack lies before what was acked already")
        if ack.position > seen.tail:
            raise bad_offset("an ack lies past the stream's tail")
        reached[ack.path] = ack.position
        found.append((link, stream.sid, ack.position))
    return found

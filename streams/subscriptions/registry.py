"""All subscriptions: the verbs of the control interface, and what appends stir up.

Each verb decides and changes memory in one step of the loop and notes it in the log; its answer
waits until that is durable (``settled``). ``hear`` is called for every durable change of a stream:
it looks one name up, and leaves the rest to the courier.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import anyio
import structlog

from streams.store.state import Stream
from streams.store.store import Store
from streams.subscriptions import globs, model, rules
from streams.subscriptions.model import PULL, Config, Link, Subscription, Wake
from streams.subscriptions.refusals import Denied, full, invalid, not_there
from streams.subscriptions.requests import Report
from streams.subscriptions.signing import Claim, Signing
from streams.wal.committer import BrokenError
from streams.wal.records import Noted

log = structlog.get_logger()

MAX_SUBSCRIPTIONS = 1000
MAX_LINKS = 10_000  # of one subscription
MAX_LINKS_TOGETHER = 50_000


class Subscriptions:
    """``links`` counts all; raises BrokenError where it writes."""

    def __init__(self, store: Store, signing: Signing) -> None:
        self._store = store
        self.signing = signing
        self.by_name = model.load(store.state.notes)
        self.links = sum(len(one.links) for one in self.by_name.values())
        self.stirred: set[str] = set(self.by_name)
        self.news = anyio.Event()
        self._followers: dict[str, dict[str, Subscription]] = {}
        self._met: set[int] = set()
        for one in self.by_name.values():
            for path in one.links:
                self._followers.setdefault(path, {})[one.name] = one
        self._meet_all()
        store.heard = self.hear

    @property
    def streams(self) -> rules.Streams:
        return self._store.state.visible

    def find(self, name: str) -> Subscription:
        """Raises Denied 404."""
        found = self.by_name.get(name)
        if found is None:
            raise not_there()
        return found

    def create(self, name: str, config: Config) -> tuple[Subscription, bool]:
        """§6.2; and whether it is new. Raises Denied 409, 429."""
        present = self.by_name.get(name)
        if present is not None:
            if present.config != config:
                detail = "the subscription exists with another configuration"
                raise Denied(409, "SUBSCRIPTION_ALREADY_EXISTS", detail)
            return present, False
        if len(self.by_name) >= MAX_SUBSCRIPTIONS:
            raise full(f"there may be {MAX_SUBSCRIPTIONS} subscriptions at most")
        made = Subscription(name, config, _now())
        followed = [*config.streams, *self._matching(config)]
        self._expect_room(made, followed)
        for path in config.streams:
            self._link(made, path, explicit=True)
        for path in self._matching(config):
            self._link(made, path, explicit=False)
        if not self.by_name:
            self._met = {stream.sid for stream in self.streams.values()}
        self.by_name[name] = made
        self._note([model.note(made), *(model.link_note(made, x) for x in made.links.values())])
        log.info("subscription.created", subscription=name, links=len(made.links))
        return made, True

    def _matching(self, config: Config) -> list[str]:
        there = [path for path, stream in self.streams.items() if not stream.durable.gone]
        return [path for path in there if _follows(config, path)]

    def _expect_room(self, one: Subscription, paths: Sequence[str]) -> None:
        """Raises Denied 429."""
        new = len(set(paths) - one.links.keys())
        if len(one.links) + new > MAX_LINKS or self.links + new > MAX_LINKS_TOGETHER:
            raise full(f"a subscription follows {MAX_LINKS} streams at most, all {_ALL}")

    def _link(self, one: Subscription, path: str, *, explicit: bool) -> Link:
        """At the present tail (§6.2), unless it is followed already."""
        link = one.links.get(path)
        if link is None:
            stream = self.streams.get(path)
            there = stream is not None and not stream.durable.gone
            at = stream.durable.tail if stream is not None and there else 0
            link = self._add(one, Link(path, stream.sid if stream and there else None, at))
        link.explicit, link.glob = link.explicit or explicit, link.glob or not explicit
        return link

    def _add(self, one: Subscription, link: Link) -> Link:
        one.links[link.path] = link
        one.fresh.add(link.path)
        self._followers.setdefault(link.path, {})[one.name] = one
        self.links += 1
        return link

    def _drop(self, one: Subscription, path: str) -> Noted:
        link = one.links.pop(path)
        followers = self._followers[path]
        del followers[one.name]
        if not followers:
            del self._followers[path]
        self.links -= 1
        return model.gone_note(one, link)

    def delete(self, name: str) -> None:
        """Idempotent (§6.3)."""
        one = self.by_name.pop(name, None)
        if one is None:
            return
        notes, one.wake = model.end_notes(one), None  # what is under way finds itself fenced
        for path in list(one.links):
            self._drop(one, path)
        self._note(notes)
        log.info("subscription.deleted", subscription=name)

    def follow(self, name: str, paths: Sequence[str]) -> None:
        """§6.4. Raises Denied 404, 429."""
        one = self.find(name)
        self._expect_room(one, paths)
        self._note([model.link_note(one, self._link(one, path, explicit=True)) for path in paths])

    def unfollow(self, name: str, path: str) -> None:
        """§6.4: a pattern that matches goes on. Raises Denied 404."""
        one = self.find(name)
        link = one.links.get(path)
        if link is None or not link.explicit:
            return
        link.explicit = False
        self._note([model.link_note(one, link) if link.glob else self._drop(one, path)])

    def claim(self, name: str, worker: str, now: float) -> Subscription:
        """§7.2. Raises Denied."""
        one = self._of(name, PULL)
        if one.wake is not None and one.wake.holder is not None:
            facts = {"current_holder": one.wake.holder, "generation": one.generation}
            raise Denied(409, "ALREADY_CLAIMED", "another worker holds the lease", facts)
        if rules.first_pending(one, self.streams) is None:
            self.end(one)  # what it was about is gone; the next append must be told of
            raise Denied(409, "NO_PENDING_WORK", "there is nothing to do")
        wake = one.wake or self.begin(one)
        wake.holder, wake.delivered = worker, True
        wake.lease_until = now + one.config.lease_seconds
        self.changed(one)
        return one

    def _of(self, name: str, kind: str) -> Subscription:
        one = self.find(name)
        if one.config.type != kind:
            raise invalid(f"this is for {kind} subscriptions")
        return one

    def report(self, name: str, kind: str, token: str, report: Report, now: float) -> bool:
        """Callback and ack (§7.1, §7.2): whether there is more to do. Raises Denied."""
        one = self._current(name, kind, token, report)
        acked = rules.acked(one, self.streams, report)
        for link, sid, position in acked:
            link.sid, link.acked = sid, position
        self._note([model.link_note(one, link) for link, _, _ in acked])
        if one.wake is not None:
            one.wake.lease_until = now + one.config.lease_seconds
        if not report.done:
            self.stir(one)
            return False
        self.end(one)
        return rules.first_pending(one, self.streams) is not None

    def release(self, name: str, token: str, report: Report) -> None:
        """§7.2. Raises Denied."""
        self.end(self._current(name, PULL, token, report))

    def _current(self, name: str, kind: str, token: str, report: Report) -> Subscription:
        claim = self.signing.read(token, self._store.wall())
        if claim.name != name:
            raise Denied(401, "TOKEN_INVALID", "the token is of another subscription")
        one = self._of(name, kind)
        rules.expect_current(one, claim, report)
        return one

    def token(self, one: Subscription) -> str:
        return self.signing.token(Claim(one.name, one.generation), self._store.wall())

    def begin(self, one: Subscription) -> Wake:
        """A new generation; durable before anybody is told of it."""
        one.generation += 1
        one.wake = Wake(f"w_{secrets.token_hex(12)}")
        self.changed(one)
        return one.wake

    def end(self, one: Subscription) -> None:
        """The wake is over. What is pending begins the next one."""
        one.wake = None
        self.changed(one)

    def ack_snapshot(self, one: Subscription, wake: Wake) -> None:
        """§7.1: a webhook that says it is done has done all it was told of."""
        done: list[Noted] = []
        for path, (sid, tail) in wake.snapshot.items():
            link = one.links.get(path)
            if link is not None and (link.sid != sid or link.acked < tail):
                link.sid, link.acked = sid, tail
                done.append(model.link_note(one, link))
        self._note(done)

    def changed(self, one: Subscription) -> None:
        if self.by_name.get(one.name) is one:
            self._note([model.note(one)])
            self.stir(one)

    def stir(self, one: Subscription) -> None:
        self.stirred.add(one.name)
        self.news.set()

    async def settled(self) -> None:
        await self._store.settled()

    def _note(self, notes: Sequence[Noted]) -> None:
        if notes:
            self._store.note(notes)

    def hear(self, stream: Stream) -> None:
        """A durable change. Costs a look at a dictionary where nobody follows."""
        if not self.by_name:
            return
        with suppress(BrokenError):  # the next start will meet or miss the stream
            self._compare(stream)
        for one in self._followers.get(stream.made.name, _NOBODY).values():
            one.fresh.add(stream.made.name)
            if one.wake is None:
                self.stir(one)

    def _compare(self, stream: Stream) -> None:
        if stream.durable.gone:
            self._lose(stream)
        elif stream.sid not in self._met:
            self._meet(stream)

    def _meet_all(self) -> None:
        """At start: what was made while no note of it became durable, and what went."""
        for stream in self.streams.values():
            if not stream.durable.gone:
                self._meet(stream)
        for one in self.by_name.values():
            lost = [path for path in one.links if path not in self.streams]
            self._note([self._drop(one, path) for path in lost if not one.links[path].explicit])

    def _meet(self, stream: Stream) -> None:
        """Made after every subscription with a pattern, so that all it has itself is new."""
        self._met.add(stream.sid)
        for one in self.by_name.values():
            path = stream.made.name
            if path in one.links or not _follows(one.config, path):
                continue
            if len(one.links) >= MAX_LINKS or self.links >= MAX_LINKS_TOGETHER:
                log.warning("subscription.full", subscription=one.name, links=len(one.links))
                continue
            link = self._add(one, Link(path, stream.sid, stream.made.base, glob=True))
            self._note([model.link_note(one, link)])

    def _lose(self, stream: Stream) -> None:
        """Gone: followed no more by patterns; who named it waits for another one."""
        self._met.discard(stream.sid)
        path = stream.made.name
        followers = list(self._followers.get(path, _NOBODY).values())
        self._note([self._drop(one, path) for one in followers if not one.links[path].explicit])


def _follows(config: Config, path: str) -> bool:
    """Never its own wake stream: that would wake it for ever."""
    matched = config.pattern is not None and globs.matches(config.pattern, path)
    return matched and path != config.wake_stream


_NOBODY: dict[str, Subscription] = {}
_ALL = f"together {MAX_LINKS_TOGETHER}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

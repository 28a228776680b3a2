"""The store against a model in memory: any schedule of requests, restarts and folds.

``ONAIR_TEST_STREAMS_EXAMPLES`` sets how many schedules (default 25, of up to 40 steps each).
"""

import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.protocol import jsonmode
from streams.protocol.lifetime import Lifetime
from streams.protocol.producers import Claim
from streams.protocol.refusal import Refusal
from streams.protocol.requests import Append, Create, ForkPoint
from streams.store import check, reading
from streams.store.clock import Clock
from streams.store.state import Stream
from streams.store.store import Store, open_store
from tests.streams.model import JSON, TEXT, Model

EXAMPLES = int(os.environ.get("ONAIR_TEST_STREAMS_EXAMPLES", "25"))  # noqa: TID251
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
TTLS = st.sampled_from([None, None, None, 5, 20])
TEXTS = st.binary(min_size=1, max_size=12) | st.just(b"x" * 70_000)
CLAIMS = st.none() | st.tuples(st.sampled_from("pq"), st.integers(0, 2), st.integers(0, 3))
SEQS = st.none() | st.sampled_from(["1", "2", "10", "3"])


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model()
        self._portal_cm = start_blocking_portal()
        self.portal: BlockingPortal = self._portal_cm.__enter__()
        self.store_cm: AbstractContextManager[Store] | None = None
        self._open()

    def _open(self) -> None:
        clock = Clock(lambda: self.model.now, lambda: self.model.now)
        opening = open_store(Path(self.folder.name), clock)
        self.store_cm = self.portal.wrap_async_context_manager(opening)
        self.store = self.store_cm.__enter__()

    def _close(self) -> None:
        if self.store_cm is not None:
            self.store_cm.__exit__(None, None, None)
            self.store_cm = None

    def teardown(self) -> None:
        self._close()
        assert check.check(Path(self.folder.name)).ok
        self._portal_cm.__exit__(None, None, None)
        self.folder.cleanup()

    def ask(self, verb: Callable[..., Awaitable[Any]], *args: Any) -> int:
        try:
            done = self.portal.call(verb, *args)
        except Refusal as refusal:
            return refusal.status
        if done is None:
            return 204
        if isinstance(args[0], Create):
            return 201 if done.new else 200
        return 200 if done.new else 204

    @rule(
        name=NAMES,
        is_json=st.booleans(),
        ttl=TTLS,
        closed=st.sampled_from([False, False, True]),
        body=TEXTS,
    )
    def create(self, name: str, is_json: bool, ttl: int | None, closed: bool, body: bytes) -> None:
        kind, sent, kept = _content(body, is_json=is_json)
        request = Create(name, kind, Lifetime(ttl) if ttl else None, closed, None, sent)
        expected = self.model.create(name, kind, ttl, closed, kept)
        assert self.ask(self.store.create, request) == expected

    @rule(
        name=NAMES,
        source=NAMES,
        at=st.none() | st.integers(0, 30),
        sub=st.integers(0, 3),
        ttl=TTLS,
    )
    def fork(self, name: str, source: str, at: int | None, sub: int, ttl: int | None) -> None:
        sub = sub if at is not None else 0
        point = ForkPoint(source, at, sub)
        request = Create(name, None, Lifetime(ttl) if ttl else None, False, point, b"")
        expected = self.model.fork(name, source, at, sub, ttl)
        assert self.ask(self.store.create, request) == expected

    @rule(
        name=NAMES,
        is_json=st.booleans(),
        body=TEXTS | st.just(b""),
        closes=st.sampled_from([False, False, False, True]),
        claim=CLAIMS,
        seq=SEQS,
    )
    def append(
        self,
        name: str,
        is_json: bool,
        body: bytes,
        closes: bool,
        claim: tuple[str, int, int] | None,
        seq: str | None,
    ) -> None:
        kind, sent, kept = _content(body, is_json=is_json) if body else (TEXT, b"", b"")
        closes = closes or not body
        request = Append(name, kind, closes, Claim(*claim) if claim else None, seq, sent)
        expected = self.model.append(name, kind, kept, closes, claim, seq)
        assert self.ask(self.store.append, request) == expected

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        assert self.ask(self.store.delete, name) == self.model.delete(name)

    @rule(seconds=st.sampled_from([1, 3, 6, 21]))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    @rule()
    def sweep(self) -> None:
        self.model.expire()
        self.portal.call(self.store.sweep)

    @rule()
    def fold(self) -> None:
        self.store.rotate()
        self.portal.call(self.store.checkpoint)

    @rule()
    def restart(self) -> None:
        """What is due goes first: its TTL would begin anew."""
        self.sweep()
        self._close()
        self._open()
        self.model.restart()

    @invariant()
    def same(self) -> None:
        self.model.expire()
        self.portal.call(self._compare)

    async def _compare(self) -> None:
        await self._compare_readers()
        for name, one in self.model.streams.items():
            assert self.store.state.names[name].forks == self.model.forks_of(one)

    async def _compare_readers(self) -> None:
        """Looking at a stream also removes it, if it is due."""
        for name in "abcde":
            one, stream = self.model.streams.get(name), self._look(name)
            assert (stream is None) == (one is None or one.hidden)
            if stream is None or one is None:
                continue
            seen = stream.durable
            assert (seen.tail, seen.closed) == (len(one.data), one.closed)
            assert await reading.read(self.store.files, stream, 0, seen.tail) == one.data

    def _look(self, name: str) -> Stream | None:
        try:
            return self.store.look(name)
        except Refusal:
            return None


def _content(body: bytes, *, is_json: bool) -> tuple[str, bytes, bytes]:
    """Content type, what is sent, what is kept."""
    if not is_json:
        return TEXT, body, body
    parts = [str(byte).encode() for byte in body]
    return JSON, b"[" + b",".join(parts) + b"]", jsonmode.stored(parts)


TestStore = pytest.mark.timeout(240 + 4 * EXAMPLES)(StoreMachine.TestCase)
TestStore.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

"""The two requests that come most, without a task each: an append, and a long-poll.

Both decide as the app does, with its own functions. They know only how things go well: whatever
else comes of a request (a refusal, a repetition, a cold page, a large body) is left to the app.
"""

import asyncio
from contextlib import suppress

from streams.app import live, reads, writes
from streams.app.access import Access
from streams.app.answer import Answer, refused
from streams.app.asgi import fields
from streams.app.bodies import Bodies
from streams.app.live import Waiting
from streams.protocol import paths, requests
from streams.protocol.refusal import Refusal, gone
from streams.protocol.requests import Append, Read
from streams.server.protocol import Exchange
from streams.store.decide import BIG_BODY
from streams.store.state import Stream
from streams.store.store import Done, Store
from streams.wal.committer import BrokenError

_POLL = b"live=long-poll"


class Hot:
    """A ``Route``."""

    def __init__(self, store: Store, waiting: Waiting, access: Access, bodies: Bodies) -> None:
        self._store = store
        self._waiting = waiting
        self._access = access
        self._bodies = bodies

    def __call__(self, exchange: Exchange) -> bool:
        if not exchange.url.isascii() or b"#" in exchange.url:
            return False
        with suppress(Refusal, BrokenError):
            if exchange.method == b"POST":
                return len(exchange.content) <= BIG_BODY and self._append(exchange)
            return _POLL in exchange.url and self._poll(exchange)
        return False

    def _append(self, exchange: Exchange) -> bool:
        """Raises Refusal, BrokenError: nothing was done."""
        path = exchange.url.partition(b"?")[0].decode()
        name, headers = paths.stream(path), fields(exchange.fields)
        self._access.check("POST", name, headers)
        request = requests.append(name, headers, exchange.content)
        if not self._bodies.reserve(len(request.body)):
            return False
        pending = _Pending(exchange, request, self._bodies)
        try:
            pending.done = self._store.append_now(request, pending.told)
        finally:
            if pending.done is None:
                self._bodies.release(len(request.body))
        return pending.done is not None

    def _poll(self, exchange: Exchange) -> bool:
        """Raises Refusal. ``offset=now`` is not taken: handed over later, it would mean another."""
        path, _, query = exchange.url.partition(b"?")
        name, headers = paths.stream(path.decode()), fields(exchange.fields)
        self._access.check("GET", name, headers)
        request = requests.read(name, query, headers)
        if request.live != "long-poll" or request.offset is None:
            return False
        stream = self._store.look(name)
        poll = _Poll(self._store, self._waiting, request, stream, exchange)
        if not live.news(stream, poll.start):
            poll.wait()
            return True
        return poll.answered()


class _Pending:
    """An append that is not durable yet."""

    __slots__ = ("_bodies", "_exchange", "_request", "done")

    def __init__(self, exchange: Exchange, request: Append, bodies: Bodies) -> None:
        self._exchange = exchange
        self._request = request
        self._bodies = bodies
        self.done: Done | None = None

    def told(self, error: str | None) -> None:
        self._bodies.release(len(self._request.body))
        if error is None and self.done is not None:
            self._exchange.answer(writes.posted(self._request, self.done))
        else:
            self._exchange.hand_over()  # the app knows what to say of a disk that failed


class _Poll:
    """A long-poll: answered at once, or called by its stream, its timer, the drain, its end."""

    __slots__ = ("_exchange", "_request", "_store", "_stream", "_timer", "_waiting", "start")

    def __init__(
        self, store: Store, waiting: Waiting, request: Read, stream: Stream, exchange: Exchange
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._request = request
        self._stream = stream
        self._exchange = exchange
        self._timer: asyncio.Handle | None = None
        self.start = min(request.offset or 0, stream.durable.tail)
        store.touch(stream)

    def wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._waiting.long_poll_seconds, self._over)
        self._waiting.enter(self._stream)
        self._waiting.leaving[self._over] = None
        self._stream.watchers[self._woken] = None
        self._exchange.on_gone = self._leave

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.leave(self._stream)
        self._waiting.leaving.pop(self._over, None)
        self._stream.watchers.pop(self._woken, None)

    def _woken(self) -> None:
        """Answer when all that became durable with it is shown."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_soon(self._over)

    def _over(self) -> None:
        self._leave()
        self._store.touch(self._stream)
        if not self.answered():
            self._exchange.hand_over()

    def answered(self) -> bool:
        """False if the app must do it: it is a lot, or not in memory. Raises nothing."""
        if self._stream.durable.gone:
            self._exchange.answer(refused(gone()))
            return True
        found = reads.find_now(self._store, self._stream, self.start)
        if found is None:
            return False
        headers = live.polled(self._store, self._waiting, self._request, found)
        if found.start == found.stop:
            self._exchange.answer(Answer(204, headers))
            return True
        body = reads.content_now(self._store, found)
        if body is None:
            return False
        headers["Content-Type"] = self._stream.made.content_type
        self._exchange.answer(Answer(200, headers, body))
        return True

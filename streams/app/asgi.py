"""The ASGI app: which verb a request is, who may use it, and what becomes of errors."""

from collections.abc import Callable, Sequence

import structlog

from pkg.httpserver import Receive, Scope, Send
from streams.app import live, reads, writes
from streams.app.access import Access
from streams.app.answer import Answer, deliver, preflight, refused
from streams.app.bodies import Bodies, CallerGoneError
from streams.app.live import Waiting
from streams.protocol import paths, requests
from streams.protocol.refusal import Refusal
from streams.protocol.requests import Headers
from streams.store.store import Store
from streams.wal.committer import BrokenError

log = structlog.get_logger()

Page = Callable[[], Answer]


class StreamsApp:
    """``pages`` are what stands beside the streams: health, metrics."""

    def __init__(
        self, store: Store, waiting: Waiting, access: Access, pages: dict[str, Page]
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._access = access
        self._pages = pages
        self.bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["method"] == "HEAD"
        try:
            await self._answer(scope, receive, send)
        except Refusal as refusal:
            await deliver(send, refused(refusal), head=head)
        except BrokenError as error:
            unable = Refusal(503, str(error), {"Retry-After": "5"})
            await deliver(send, refused(unable), head=head)
        except FileNotFoundError:
            log.info("answer.cut", path=scope["path"], reason="the stream was deleted")
        except CallerGoneError:
            return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        page = self._pages.get(scope["path"])
        if method == "OPTIONS":
            await deliver(send, preflight())
        elif page is not None and method in {"GET", "HEAD"}:
            await deliver(send, page(), head=method == "HEAD")
        else:
            await self._stream(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        name = paths.stream(scope["raw_path"].decode("latin-1"))
        headers = fields(scope["headers"])
        self._access.check(method, name, headers)
        match method:
            case "GET":
                await self._read(scope, name, headers, receive, send)
            case "HEAD":
                await deliver(send, writes.head(self._store, name), head=True)
            case "PUT" | "POST":
                await deliver(send, await self._write(scope, name, headers, receive))
            case "DELETE":
                await deliver(send, await writes.delete(self._store, name))
            case _:
                raise Refusal(405, "streams know GET, HEAD, POST, PUT and DELETE", _ALLOW)

    async def _read(
        self, scope: Scope, name: str, headers: Headers, receive: Receive, send: Send
    ) -> None:
        request = requests.read(name, scope["query_string"], headers)
        match request.live:
            case None:
                await reads.catch_up(self._store, request, send)
            case "long-poll":
                await live.long_poll(self._store, self._waiting, request, receive, send)
            case "sse":
                await live.events(self._store, self._waiting, request, receive, send)

    async def _write(self, scope: Scope, name: str, headers: Headers, receive: Receive) -> Answer:
        body = await self.bodies.take(scope, receive)
        try:
            if scope["method"] == "PUT":
                return await writes.put(self._store, scope, name, headers, body)
            return await writes.post(self._store, name, headers, body)
        finally:
            self.bodies.release(len(body))


_ALLOW = {"Allow": "GET, HEAD, POST, PUT, DELETE, OPTIONS"}


def fields(found: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Each header once; of one that is sent twice, the last counts, as in Node's map."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in found}

"""Stands before the app and takes what is below ``__ds`` (§6: routed before any stream)."""

from pkg.httpserver import App, Receive, Scope, Send
from streams.app.access import Access
from streams.app.answer import Answer, deliver, refused
from streams.app.bodies import Bodies, CallerGoneError
from streams.protocol.refusal import Refusal
from streams.protocol.requests import Headers
from streams.subscriptions.control import Control, needs_key
from streams.subscriptions.requests import PREFIX
from streams.wal.committer import BrokenError

_PREFIX = PREFIX.encode()


class Front:
    def __init__(self, app: App, control: Control, access: Access, bodies: Bodies) -> None:
        self._app = app
        self._control = control
        self._access = access
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["raw_path"].startswith(_PREFIX) or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        try:
            found = await self._answer(scope, receive)
        except Refusal as refusal:
            found = refused(refusal)
        except BrokenError as error:
            found = refused(Refusal(503, str(error), {"Retry-After": "5"}))
        except CallerGoneError:
            return
        await deliver(send, found, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        """Raises Refusal, BrokenError, CallerGoneError."""
        headers = _headers(scope)
        raw_path = scope["raw_path"].decode("latin-1")
        if needs_key(raw_path):
            self._access.check("POST", "", headers)
        body = await self._bodies.take(scope, receive)
        try:
            return await self._control.answer(scope["method"], raw_path, headers, body)
        finally:
            self._bodies.release(len(body))


def _headers(scope: Scope) -> Headers:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

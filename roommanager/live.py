"""`GET /api/live`: rooms and modules as they change, for the console. The events are ``feed``'s.

A reader that takes nothing is cut off by the server (``pkg.httpserver``: WRITE_SECONDS); until
then it costs one buffer, since the next frame is made only when the last one is on its way.
"""

from contextlib import aclosing

import anyio
from fastapi import APIRouter, Depends, Response

from pkg.httpserver import Receive, Scope, Send
from roommanager.callers import with_api_key
from roommanager.feed import Feed
from roommanager.problems import Answer, ProblemError, described
from roommanager.requests import Ctx, each_once

EVENTS_TYPE = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx would gather what should be pushed
}
routes = APIRouter(dependencies=[Depends(with_api_key), Depends(each_once)])


class EventStream(Response):
    """Frames as they come, until they end or the reader goes."""

    media_type = EVENTS_TYPE

    def __init__(self, feed: Feed) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            with self._feed.reader() as reader:
                await send(start)
                async with aclosing(self._feed.frames(reader)) as frames:
                    async for frame in frames:
                        await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            tasks.cancel_scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


@routes.get(
    "/api/live",
    response_class=Response,
    responses={
        200: {
            "description": "`snapshot` {rooms, modules}, then `room` {…}, `roomGone` {roomId}, "
            "`modules` {modules} and `stale` {stale} as they change, four times a second at most",
            "content": {EVENTS_TYPE: {"schema": {"type": "string"}}},
        },
        **described(503),
    },
)
async def live(ctx: Ctx) -> Response:
    """Rooms and modules, pushed: server-sent events, a comment each 15 s of silence."""
    if not ctx.view.informer.synced.is_set():
        detail = "this room manager has just started and knows no rooms yet"
        raise ProblemError(Answer(503, "not-ready", detail, headers={"Retry-After": "1"}))
    if ctx.feed.is_full:
        detail = "too many watch this room manager already; try again, or another one"
        raise ProblemError(Answer(503, "too-many-readers", detail, headers={"Retry-After": "10"}))
    return EventStream(ctx.feed)

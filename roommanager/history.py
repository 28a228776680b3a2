"""Where a room's history is: ``GET /api/rooms/{roomId}/events`` sends its callers there.

A room that was deleted keeps its history for as long as its stream lasts.
"""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse

from pkg.events.server import ServerAwayError, StreamServer, stream_url
from pkg.model import RoomId
from roommanager.callers import with_api_key
from roommanager.problems import Answer, ProblemError, described
from roommanager.requests import Ctx, RoomIdPath, each_once
from roommanager.wishes import RoomNotFoundError

routes = APIRouter(prefix="/api", dependencies=[Depends(with_api_key), Depends(each_once)])


class History:
    """``url``: the stream server as users reach it; empty: no history is written."""

    def __init__(self, server: StreamServer, url: str) -> None:
        self._server = server
        self._url = url

    def address(self, room_id: RoomId) -> str:
        """Raises ProblemError."""
        if not self._url:
            detail = "no history is written here: set ONAIR_STREAMS_URL to a stream server"
            raise ProblemError(Answer(404, "no-history", detail))
        return stream_url(self._url, room_id)

    async def has(self, room_id: RoomId) -> bool:
        """Raises ProblemError."""
        try:
            return await self._server.exists(room_id)
        except ServerAwayError as error:
            detail = (
                f"there is no room {room_id}; the stream server cannot say if there was ({error})"
            )
            headers = {"Retry-After": "5"}
            raise ProblemError(Answer(503, "streams-unavailable", detail, {}, headers)) from None


@routes.get(
    "/rooms/{roomId}/events",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses={
        307: {"description": "the room's stream, with the query as it was sent"},
        **described(404, 503),
    },
)
async def room_events(request: Request, ctx: Ctx, room_id: RoomIdPath) -> RedirectResponse:
    """The room's history: a durable stream of JSON, also of a room that was deleted.

    What is in the query (`offset`, `live`) is passed on.
    """
    address = ctx.history.address(room_id)
    try:
        await ctx.wishes.read(room_id)
    except RoomNotFoundError:
        if not await ctx.history.has(room_id):
            raise
    query = f"?{request.url.query}" if request.url.query else ""
    headers = {"Cache-Control": "no-store"}
    return RedirectResponse(address + query, HTTPStatus.TEMPORARY_REDIRECT, headers)

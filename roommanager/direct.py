"""The route of `start` without FastAPI's dependency injection, which costs more than the start.

Only the plain call (no query) is taken here; with one, and for the OpenAPI page, it is FastAPI's
as any other. The checks are the same functions in the same order (measured: bench/README.md).
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from pkg.tokens import AIR
from roommanager import schemas
from roommanager.callers import bearer, host_may
from roommanager.requests import context, room_id

may_air = host_may(AIR)


class StartRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await (usual if request.scope["query_string"] else _start)(request)

        return handle


async def _start(request: Request) -> Response:
    await may_air(request, await bearer(request))
    room = await room_id(request.path_params["roomId"])
    ctx = await context(request)
    facts = await ctx.wishes.start(room)
    shown = schemas.room(facts, ctx.public_url)
    return Response(
        shown.model_dump_json(by_alias=True, exclude_none=True), media_type="application/json"
    )

"""The REST interface (contract.md §2): HTTP in, wishes out. No decision is made here."""

from functools import partial
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from pkg import __version__, keys
from pkg.errors import OnairError
from pkg.model import RoomId
from roommanager import execute, hosts, listeners, listing, schemas
from roommanager.callers import host_may, with_api_key
from roommanager.context import Context
from roommanager.direct import StartRoute, may_air
from roommanager.docs import add_docs, describe
from roommanager.facts import RoomFacts
from roommanager.live import routes as live_routes
from roommanager.marks import marked
from roommanager.pages import add_pages
from roommanager.pins import hash_pin
from roommanager.problems import Answer, ProblemError, described
from roommanager.refusals import add_refusals
from roommanager.requests import (
    Ctx,
    KindPath,
    ModuleIdPath,
    RoomIdPath,
    body,
    body_schema,
    each_once,
    invalid,
)
from roommanager.status import RoomStatus, derive, reason
from roommanager.wishes import RoomNotFoundError

log = structlog.get_logger()

MAX_PAGE = 200
# The key first: a stranger learns nothing from what would be refused otherwise.
api = APIRouter(prefix="/api", dependencies=[Depends(with_api_key), Depends(each_once)])
guests = APIRouter(prefix="/api")  # hosts with a token may call these, too
any_host = [Depends(host_may(None)), Depends(each_once)]
open_routes = APIRouter()


def shown(ctx: Context, facts: RoomFacts) -> schemas.Room:
    return schemas.room(facts, ctx.public_url)


def explained(ctx: Context, facts: RoomFacts) -> schemas.Explanation:
    judged = ctx.vigil.verdict
    return schemas.explanation(facts, ctx.view.fleet, reason(facts, ctx.view.fleet, judged), judged)


@api.post(
    "/rooms",
    status_code=201,
    openapi_extra=body_schema(schemas.CreateRoom),
    responses=described(409),
    response_model_exclude_none=True,
)
async def create_room(
    ctx: Ctx, wish: Annotated[schemas.CreateRoom, Depends(body(schemas.CreateRoom))]
) -> schemas.Room:
    """Create a room. Without `roomId` one is made up."""
    room_id = RoomId(wish.room_id or ctx.room_id())
    pin_hash = await ctx.hashing.run(hash_pin, wish.pin, ctx.salt()) if wish.pin else None
    made = await ctx.wishes.create(room_id, pin_hash, wish.metadata, wish.max_participants)
    return shown(ctx, made)


@api.get("/rooms", response_model_exclude_none=True)
async def list_rooms(
    ctx: Ctx,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: str | None = None,
    status: RoomStatus | None = None,
) -> schemas.RoomPage:
    """List rooms in the order of their ids. `nextCursor` asks for the next page."""
    after = listing.after(cursor)
    if cursor is not None and after is None:
        raise invalid("cursor", "send back nextCursor of the page before, unchanged")
    page = await listing.page(ctx, after, limit, status)
    return schemas.RoomPage(
        rooms=[shown(ctx, facts) for facts in page.rooms], next_cursor=page.next_cursor
    )


@guests.get("/rooms/{roomId}", dependencies=any_host, response_model_exclude_none=True)
async def get_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """The room and its status; what is not so yet is absent. Also with a host's token."""
    return shown(ctx, await ctx.wishes.read(room_id))


async def start_room(
    ctx: Ctx, room_id: RoomIdPath, wait: Annotated[float, Query(ge=0, le=60)] = 0
) -> schemas.Room:
    """Put the room on air. With `wait`, answer once it is, at most so many seconds later.

    Also with a host's token that has the grant `air`.
    """
    facts = await ctx.wishes.start(room_id)
    if wait > 0:
        facts = await _until_on_air(ctx, facts, wait)
    return shown(ctx, facts)


guests.add_api_route(
    "/rooms/{roomId}/start",
    start_room,
    methods=["POST"],
    dependencies=[Depends(may_air), Depends(each_once)],
    responses=described(409, 503, 504),
    response_model_exclude_none=True,
    route_class_override=StartRoute,
)


async def _until_on_air(ctx: Context, facts: RoomFacts, seconds: float) -> RoomFacts:
    with anyio.move_on_after(seconds):
        while derive(facts) is not RoomStatus.ONAIR:
            with anyio.move_on_after(1.0):
                await ctx.view.changed(facts.room_id)
            facts = await ctx.wishes.read(facts.room_id)
    if derive(facts) is RoomStatus.ONAIR:
        return facts
    told = explained(ctx, facts)
    detail = f"not on air within {seconds:g} s: {told.reason}"
    extra = {"explain": schemas.document(told)}
    raise ProblemError(Answer(504, "not-yet-onair", detail, extra, {"Retry-After": "2"}))


@guests.post(
    "/rooms/{roomId}/stop",
    dependencies=[Depends(may_air), Depends(each_once)],
    responses=described(409),
    response_model_exclude_none=True,
)
async def stop_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """Take the room off the air; it stays, idle. Also with a host's token (grant `air`)."""
    return shown(ctx, await ctx.wishes.stop(room_id))


@api.delete("/rooms/{roomId}", status_code=202, response_model_exclude_none=True)
async def delete_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """Remove the room and all that belongs to it."""
    room = shown(ctx, await ctx.wishes.delete(room_id))
    return room.model_copy(update={"status": RoomStatus.REMOVING})


@guests.get("/rooms/{roomId}/explain", dependencies=any_host, response_model_exclude_none=True)
async def explain_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Explanation:
    """Desired beside observed state, and in one sentence why the room is not on air.

    Also with a host's token.
    """
    facts = await ctx.wishes.read(room_id)
    return explained(ctx, facts)


@api.get(
    "/rooms/{roomId}/events",
    status_code=307,
    response_class=RedirectResponse,
    responses={307: {"description": "the room's stream"}, **described(404, 503)},
)
async def room_events(request: Request, ctx: Ctx, room_id: RoomIdPath) -> RedirectResponse:
    """The room's history, a durable stream of JSON; also of a room that was deleted.

    The query (`offset`, `live`) is passed on.
    """
    address = ctx.history.address(room_id)
    try:
        await ctx.wishes.read(room_id)
    except RoomNotFoundError:
        if not await ctx.history.has(room_id):
            raise
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(address + query, 307, {"Cache-Control": "no-store"})


@api.get("/modules", response_model_exclude_none=True)
async def list_modules(ctx: Ctx) -> schemas.Modules:
    """The fleet: health, mark, and how many of its places are taken."""
    return schemas.modules(await listing.fleet(ctx.etcd), ctx.vigil.verdict)


@api.put(
    "/modules/{kind}/{moduleId}/mark",
    openapi_extra=body_schema(schemas.SetMark),
    response_model_exclude_none=True,
)
async def set_mark(
    ctx: Ctx,
    kind: KindPath,
    module_id: ModuleIdPath,
    wish: Annotated[schemas.SetMark, Depends(body(schemas.SetMark))],
) -> schemas.ModuleView:
    """Mark a module: `draining` or `disabled` gets no new rooms; `ready` takes that back.

    The rooms of a draining mixer move to others one by one, without a gap; those of a draining
    Janus stay until they end, or are moved once `deadlineSeconds` have passed. A mixer's rooms move
    at once: `deadlineSeconds` is taken for it, too, and has no effect.
    """
    if (await listing.fleet(ctx.etcd)).get(kind, module_id) is None:
        detail = f"there is no {kind.value} module {module_id}; see GET /api/modules"
        raise ProblemError(Answer(404, "module-not-found", detail))
    record = marked(kind, wish.as_mark, wish.deadline_seconds, ctx.clock())
    await execute.set_mark(ctx.etcd, kind, module_id, record)
    log.info("module.marked", kind=kind.value, module=module_id, mark=wish.mark)
    found = (await listing.fleet(ctx.etcd)).get(kind, module_id)
    if found is None:
        raise ProblemError(Answer(404, "module-not-found", "the module has just gone"))
    return schemas.module(found, ctx.vigil.verdict)


@open_routes.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process runs. Never depends on etcd: a restart would not mend etcd."""
    return {"status": "ok"}


@open_routes.get("/readyz", responses={503: {"description": "what stands in the way"}})
async def readyz(ctx: Ctx) -> JSONResponse:
    """200 if etcd answers and the copy is in step; else 503 with what stands in the way.

    A key of ours is read as any request would, so that lost quorum and lost access are seen too.
    """
    blockers = dict(ctx.readiness.blockers)
    try:
        await ctx.etcd.get(keys.leader("housekeeping"))
    except OnairError as error:
        blockers["etcd"] = str(error)
    if ctx.view.informer.broken_since is not None:
        blockers["cache"] = "the watch on etcd is broken; listing again"
    status = 503 if blockers else 200
    return JSONResponse({"ready": not blockers, "blockers": blockers}, status)


@open_routes.get("/metrics", response_class=PlainTextResponse)
async def metrics(ctx: Ctx) -> Response:
    """Prometheus text format."""
    return Response(ctx.metrics.render(), media_type="text/plain; version=0.0.4")


def create_app(context: Context) -> FastAPI:
    app = FastAPI(
        title="Onair",
        version=__version__,
        description="A self-hosted control plane for live audio rooms.",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"description": "a problem"}},  # instead of the framework's own 422
        redirect_slashes=False,  # a redirect would send callers to whatever Host they claimed
    )
    app.state.context = context
    app.include_router(guests)  # first: routes are tried in order, and starts must be quick
    for routes in (api, hosts.operators, hosts.guests, live_routes, open_routes, listeners.routes):
        app.include_router(routes)
    add_docs(app)
    add_pages(app)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    add_refusals(app)
    return app

"""The REST interface (contract.md §2): HTTP in, wishes out. No decision is made here."""

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pkg import __version__, keys
from pkg.errors import OnairError
from pkg.model import Kind, RoomId
from pkg.tokens import Role
from roommanager import execute, listing, schemas
from roommanager.context import Context
from roommanager.direct import StartRoute
from roommanager.docs import add_docs, describe
from roommanager.facts import RoomFacts
from roommanager.issuing import issue
from roommanager.listeners import routes as listener_routes
from roommanager.marks import marked
from roommanager.pins import hash_pin
from roommanager.problems import MEDIA_TYPE, Answer, ProblemError, answer, described
from roommanager.requests import (
    Ctx,
    KindPath,
    ModuleIdPath,
    RoomIdPath,
    body,
    body_schema,
    each_once,
    invalid,
    with_api_key,
)
from roommanager.status import RoomStatus, derive, reason
from roommanager.wishes import RoomExistsError

log = structlog.get_logger()

MAX_PAGE = 200
# The key first: a stranger learns nothing from what would be refused otherwise.
api = APIRouter(prefix="/api", dependencies=[Depends(with_api_key), Depends(each_once)])
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
    return shown(ctx, await ctx.wishes.create(room_id, pin_hash, wish.metadata))


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


@api.get("/rooms/{roomId}", response_model_exclude_none=True)
async def get_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """The room and its status. What is not so yet is absent."""
    return shown(ctx, await ctx.wishes.read(room_id))


async def start_room(
    ctx: Ctx, room_id: RoomIdPath, wait: Annotated[float, Query(ge=0, le=60)] = 0
) -> schemas.Room:
    """Put the room on air. With `wait`, answer once it is, at most so many seconds later."""
    facts = await ctx.wishes.start(room_id)
    if wait > 0:
        facts = await _until_on_air(ctx, facts, wait)
    return shown(ctx, facts)


api.add_api_route(
    "/rooms/{roomId}/start",
    start_room,
    methods=["POST"],
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


@api.post("/rooms/{roomId}/stop", responses=described(409), response_model_exclude_none=True)
async def stop_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """Take the room off the air; it stays, idle."""
    return shown(ctx, await ctx.wishes.stop(room_id))


@api.delete("/rooms/{roomId}", status_code=202, response_model_exclude_none=True)
async def delete_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Room:
    """Remove the room and all that belongs to it."""
    room = shown(ctx, await ctx.wishes.delete(room_id))
    return room.model_copy(update={"status": RoomStatus.REMOVING})


@api.get("/rooms/{roomId}/explain", response_model_exclude_none=True)
async def explain_room(ctx: Ctx, room_id: RoomIdPath) -> schemas.Explanation:
    """Desired beside observed state, and in one sentence why the room is not on air."""
    facts = await ctx.wishes.read(room_id)
    return explained(ctx, facts)


@api.post("/rooms/{roomId}/tokens", status_code=201, openapi_extra=body_schema(schemas.IssueToken))
async def issue_token(
    ctx: Ctx,
    room_id: RoomIdPath,
    wish: Annotated[schemas.IssueToken, Depends(body(schemas.IssueToken))],
) -> schemas.Token:
    """A token for the gateway (`host`) or for the playlist of a room with a PIN (`listener`)."""
    await ctx.wishes.read(room_id)
    return issue(ctx, room_id, wish.user_id, Role(wish.role), wish.ttl_seconds)


@api.get("/modules", response_model_exclude_none=True)
async def list_modules(ctx: Ctx) -> schemas.Modules:
    """The fleet: health, mark, and how many of its places are taken."""
    fleet = await listing.fleet(ctx.etcd)
    found = sorted(
        (m for kind in Kind for m in fleet.of(kind)), key=lambda m: (m.kind, m.module_id)
    )
    return schemas.Modules(modules=[schemas.module(m, ctx.vigil.verdict) for m in found])


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
    app.include_router(api)  # first: routes are tried in order, and starts must be quick
    app.include_router(open_routes)
    app.include_router(listener_routes)
    add_docs(app)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.add_exception_handler(OnairError, on_our_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_bad_parameter)
    app.add_exception_handler(Exception, on_bug)
    return app


async def on_our_error(request: Request, error: Exception) -> Response:
    found = answer(error) if isinstance(error, OnairError) else UNFORESEEN
    if isinstance(error, RoomExistsError):
        room = shown(request.app.state.context, error.facts)
        found = replace(found, extra={"room": schemas.document(room)})
    if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", status=found.status, code=found.code, error=str(error))
    return problem(found)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such route, wrong method."""
    if not isinstance(error, HTTPException):
        return problem(UNFORESEEN)
    words = {
        404: ("not-found", "there is nothing at this address; /docs lists what there is"),
        405: ("method-not-allowed", f"{request.method} does not work here; see the Allow header"),
    }
    code, detail = words.get(error.status_code, ("http-error", str(error.detail)))
    headers = {**(error.headers or {})}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return problem(Answer(error.status_code, code, detail, headers=headers))


def _methods(request: Request) -> list[str]:
    """What works at the address; the framework names the methods of one of its routes only."""
    routes = request.app.router.routes

    def works(method: str) -> bool:
        scope = {**request.scope, "method": method, "path_params": {}}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    return [m for m in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE") if works(m)]


async def on_bad_parameter(_request: Request, error: Exception) -> Response:
    """Query and path parameters; bodies are checked in ``requests``."""
    if not isinstance(error, RequestValidationError):
        return problem(UNFORESEEN)
    errors = [{"field": str(e["loc"][-1]), "message": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return problem(Answer(422, "invalid-request", detail, {"errors": errors}))


async def on_bug(request: Request, error: Exception) -> Response:
    """Anything not foreseen: the log has it, the caller gets the request's id."""
    log.error("request.crashed", path=request.url.path, error=type(error).__name__)
    return problem(replace(UNFORESEEN, extra={"requestId": request.state.request_id}))


UNFORESEEN = answer(OnairError())


def problem(found: Answer) -> Response:
    return JSONResponse(
        found.document(), found.status, headers=dict(found.headers), media_type=MEDIA_TYPE
    )

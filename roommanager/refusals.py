"""What goes wrong, as the answer to a request: a problem document, or a page for a browser."""

from dataclasses import replace
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pkg.errors import OnairError
from roommanager import schemas
from roommanager.pages import missing, wanted
from roommanager.problems import MEDIA_TYPE, Answer, answer
from roommanager.wishes import RoomExistsError

log = structlog.get_logger()


def add_refusals(app: FastAPI) -> None:
    app.add_exception_handler(OnairError, on_our_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_bad_parameter)
    app.add_exception_handler(Exception, on_bug)


async def on_our_error(request: Request, error: Exception) -> Response:
    found = answer(error) if isinstance(error, OnairError) else UNFORESEEN
    if isinstance(error, RoomExistsError):
        room = schemas.room(error.facts, request.app.state.context.public_url)
        found = replace(found, extra={"room": schemas.document(room)})
    if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", status=found.status, code=found.code, error=str(error))
    return problem(found)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such route, wrong method."""
    if not isinstance(error, HTTPException):
        return problem(UNFORESEEN)
    if error.status_code == HTTPStatus.NOT_FOUND and wanted(request):
        return missing(request, "There is nothing at this address.")
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

"""The pages for people (contract.md §5): console, studio, listen, and one for what is not there.

Nothing of them comes from elsewhere, and their content security policy holds them to that. Only
the studio may use the microphone and speak to gateways, only the console to the stream server.
"""

import hashlib
import re

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from pkg import keys
from roommanager import schemas
from roommanager.assets import File
from roommanager.context import Context
from roommanager.requests import Ctx

IMMUTABLE = "public, max-age=31536000, immutable"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src {connect}; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
ALIKE = {
    "Vary": "Accept-Encoding",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGE = {**ALIKE, "Cache-Control": "no-cache", "Cross-Origin-Opener-Policy": "same-origin"}
NO_ROOM = (
    "This address names no room: a room's id has 1 to 64 letters, digits, hyphens or underscores, "
    "the first one a letter or digit."
)
routes = APIRouter()


def policy(others: list[str]) -> str:
    """``others``: origins that the page may speak to besides its own."""
    return POLICY.format(connect=" ".join(["'self'", *others]))


def origin(url: str, scheme: str) -> str | None:
    """None if it is none that a browser could open, or that fits into a header.

    >>> urls = ("wss://a.example:8081/ws", "http://a/ws", "ws://a b/ws", "ws://a;x/", "ws://[::1]:1")
    >>> [origin(url, "ws") for url in urls]
    ['wss://a.example:8081', None, None, None, 'ws://[::1]:1']
    """
    found = re.match(rf"({scheme}s?://[A-Za-z0-9.:\[\]-]+)(?:/|\Z)", url, re.ASCII)
    return found[1] if found else None


def add_pages(app: FastAPI) -> None:
    app.include_router(routes)
    for path, serve in (
        ("/", console),
        ("/studio/{roomId}", studio),
        ("/listen/{roomId}", listen),
        ("/assets/{version}/{name:path}", asset),
    ):
        app.add_route(path, serve, methods=["GET"], include_in_schema=False)


async def console(request: Request) -> Response:
    ctx: Context = request.app.state.context
    streams = origin(ctx.history.rooms, "http")
    return _answer(request, ctx.pages.index, _headers(policy([streams] if streams else [])))


async def studio(request: Request) -> Response:
    ctx: Context = request.app.state.context
    if not keys.is_room_id(request.path_params["roomId"]):
        return missing(request, NO_ROOM)
    origins = {found for g in ctx.view.gateways.values() if (found := origin(g.url, "ws"))}
    return _answer(request, ctx.pages.studio, _headers(policy(sorted(origins)), "(self)"))


async def listen(request: Request) -> Response:
    ctx: Context = request.app.state.context
    if not keys.is_room_id(request.path_params["roomId"]):
        return missing(request, NO_ROOM)
    return _answer(request, ctx.pages.listen, _headers(policy([])))


async def asset(request: Request) -> Response:
    """By its name in a dict, never in a folder. Another version's page, from another replica
    while it is being upgraded, gets what we have, which nobody may keep."""
    ctx: Context = request.app.state.context
    version, name = request.path_params["version"], request.path_params["name"]
    found = ctx.pages.files.get(name)
    if found is None or not re.fullmatch("[0-9a-f]{16}", version):
        raise HTTPException(404)
    cache = IMMUTABLE if version == ctx.pages.version else "no-store"
    return _answer(request, found, {**ALIKE, "Cache-Control": cache})


@routes.get("/pages/config", response_model_exclude_none=True)
async def config(ctx: Ctx, response: Response) -> schemas.PagesConfig:
    """Open. Where the studio finds a gateway, and the console a room's history."""
    response.headers["Cache-Control"] = "no-store"
    found = {gateway.url for gateway in ctx.view.gateways.values() if origin(gateway.url, "ws")}
    history = ctx.history.rooms
    followed = history if origin(history, "http") else None
    return schemas.PagesConfig(gateways=sorted(found), history=followed)


def wanted(request: Request) -> bool:
    """Whether it is a person who looks: a browser's own request, for no part of the API."""
    fits = request.method in {"GET", "HEAD"} and not request.url.path.startswith(("/api", "/hls/"))
    return fits and "text/html" in request.headers.get("accept", "")


def missing(request: Request, words: str) -> Response:
    ctx: Context = request.app.state.context
    return _answer(request, ctx.pages.missing(words), _headers(policy([])), 404)


def _headers(allowed: str, microphone: str = "()") -> dict[str, str]:
    others = "camera=(), display-capture=(), geolocation=(), payment=(), usb=()"
    return {
        **PAGE,
        "Content-Security-Policy": allowed,
        "Permissions-Policy": f"microphone={microphone}, {others}",
    }


def _answer(request: Request, file: File, headers: dict[str, str], status: int = 200) -> Response:
    """The file, packed if the caller takes that, or 304 if it has it (RFC 9110 §13.1.2)."""
    packed = file.packed if takes_gzip(request.headers.get("accept-encoding", "")) else None
    tag = _tag(file, headers, packed=packed is not None)
    headers = {**headers, "ETag": tag}
    if status == 200 and tag in _named(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    body = file.body if packed is None else packed
    return Response(body, status, headers=headers, media_type=file.kind)


def _tag(file: File, headers: dict[str, str], *, packed: bool) -> str:
    """The policy counts: a page that is kept must not keep an old one."""
    allowed = headers.get("Content-Security-Policy", "")
    mark = hashlib.sha256(allowed.encode()).hexdigest()[:8] if allowed else "0"
    return f'"{file.tag}-{mark}{"-gz" if packed else ""}"'


def _named(header: str) -> set[str]:
    return {part.strip().removeprefix("W/") for part in header.split(",")}


def takes_gzip(header: str) -> bool:
    """
    >>> [takes_gzip(t) for t in ("gzip", "br, gzip;q=0.5", "gzip; q=0", "", "x-gzip", "identity")]
    [True, True, False, False, False, False]
    """
    for part in header.lower().split(","):
        name, _, rest = part.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", rest) is None
    return False

"""The open routes: playlist, segments and key for listeners, and the way past a PIN."""

from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, Depends, Request, Response

from pkg.errors import OnairError
from pkg.model import Desired, RoomId
from pkg.secrets import hls_key
from pkg.tokens import Role, TokenError
from roommanager import playlist, schemas
from roommanager.context import Context
from roommanager.facts import RoomFacts
from roommanager.hls import is_nonce
from roommanager.issuing import Wish, issue, stamp
from roommanager.pins import caller, mark, matches
from roommanager.problems import Answer, ProblemError, described
from roommanager.requests import Ctx, RoomIdPath, body, body_schema, each_once, same_text
from roommanager.revoking import is_revoked_here
from roommanager.sources import NotOnAirError, NotYetError
from roommanager.wishes import RoomNotFoundError

log = structlog.get_logger()
routes = APIRouter(dependencies=[Depends(each_once)])

LISTEN_TOKEN_SECONDS = 12 * 3600
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
SEGMENT_TYPE = "video/mp2t"
KEY_TYPE = "application/octet-stream"
PRIVATE = "private, no-store"
OPEN_PLAYLIST = "public, max-age=1"
IMMUTABLE = "public, max-age=3600, immutable"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Max-Age": "86400",
}


def answers(kind: str, *problems: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: bytes of this kind, or a problem."""
    found = {"description": "OK", "content": {kind: {"schema": {"type": "string"}}}}
    return {200: found, **described(*problems)}


@routes.post(
    "/api/rooms/{roomId}/listen",
    status_code=201,
    openapi_extra=body_schema(schemas.Listen),
    responses=described(403, 429),
)
async def listen(
    request: Request,
    ctx: Ctx,
    room_id: RoomIdPath,
    wish: Annotated[schemas.Listen, Depends(body(schemas.Listen))],
) -> schemas.ListenToken:
    """Open. Trade a room's PIN for a token that its playlist takes."""
    facts = await ctx.wishes.read(room_id)
    stored = facts.meta.pin_hash if facts.meta is not None else None
    if stored is not None:
        address = request.client.host if request.client else "unknown"
        await _check_pin(ctx, caller(room_id, address), wish.pin, stored)
    asked = Wish("listener", Role.LISTENER, LISTEN_TOKEN_SECONDS, mark(stored))
    token, grant = await issue(ctx, room_id, asked)
    return schemas.ListenToken(
        token=token,
        expires_at=stamp(grant.expires_at),
        hls_url=schemas.hls_url(ctx.public_url, room_id),
    )


async def _check_pin(ctx: Context, who: str, given: str | None, stored: str) -> None:
    wait = ctx.tries.wait_seconds(who, anyio.current_time())
    if wait > 0:
        detail = f"too many wrong PINs; try again in {wait:.0f} s"
        headers = {"Retry-After": str(int(wait) + 1)}
        raise ProblemError(Answer(429, "too-many-tries", detail, headers=headers))
    ctx.tries.note(who, anyio.current_time())  # before the check, which others may overtake
    if given is None or not await ctx.hashing.run(matches, given, stored):
        raise ProblemError(Answer(403, "wrong-pin", "pin: this is not the room's PIN"))
    ctx.tries.take_back(who)


async def _known(ctx: Context, room_id: RoomId) -> RoomFacts:
    """From the copy; but nobody is told that there is nothing by a copy that is old or empty."""
    facts = ctx.view.room(room_id)
    if facts.live is not None or ctx.view.ended(room_id) is not None:
        return facts
    facts = await ctx.wishes.read(room_id)
    if facts.live is None and not ctx.view.informer.synced.is_set():
        raise _absent(NotYetError("this room manager has just started"))
    return facts


def _may_hear(ctx: Context, facts: RoomFacts, token: str | None) -> str | None:
    """The token to put on links, for rooms with a PIN; None for open ones. Raises 401."""
    if facts.meta is None:
        raise RoomNotFoundError(f"there is no room {facts.room_id}")
    if facts.meta.pin_hash is None:
        return None
    try:
        if token is None:
            raise TokenError("no token")
        given = ctx.tokens.verify(token, facts.room_id)
        if given.role is not Role.LISTENER:
            raise TokenError("a host's token, which is for the gateway")
        if given.pin not in {None, mark(facts.meta.pin_hash)}:
            raise TokenError("token for another PIN, of a room of the same id before this one")
        if is_revoked_here(ctx.view, given):
            raise TokenError("revoked")
    except TokenError as error:
        log.info("listener.refused", room=facts.room_id, reason=str(error))
        detail = "this room has a PIN: POST /api/rooms/{roomId}/listen gives the token for ?token="
        headers = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
        raise ProblemError(Answer(401, "token-needed", detail, headers=headers)) from None
    return token


@routes.get(
    "/hls/{roomId}/live.m3u8",
    response_class=Response,
    responses=answers(PLAYLIST_TYPE, 401, 404, 503),
)
@routes.head("/hls/{roomId}/live.m3u8", include_in_schema=False)
async def live_playlist(ctx: Ctx, room_id: RoomIdPath, token: str | None = None) -> Response:
    """Open. The room's playlist; the same address for the room's whole life."""
    facts = await _known(ctx, room_id)
    mine = _may_hear(ctx, facts, token)
    try:
        text, air = await ctx.hls.playlist(facts)
    except OnairError as error:
        raise _absent(error) from None
    links = playlist.Links(playlist.key_link(room_id, air.nonce), mine)
    headers = {"Cache-Control": PRIVATE if mine else OPEN_PLAYLIST}
    composed = playlist.compose(text, links, ended=air.ended)
    return Response(composed, media_type=PLAYLIST_TYPE, headers=headers)


@routes.get(
    "/hls/{roomId}/{segment}",
    response_class=Response,
    responses=answers(SEGMENT_TYPE, 401, 404, 503),
)
@routes.head("/hls/{roomId}/{segment}", include_in_schema=False)
async def segment(
    ctx: Ctx, room_id: RoomIdPath, segment: str, token: str | None = None
) -> Response:
    """Open. One encrypted segment."""
    facts = await _known(ctx, room_id)
    mine = _may_hear(ctx, facts, token)
    if playlist.epoch_of(segment) is None:
        raise _absent(NotOnAirError("no such segment"))
    try:
        found = await ctx.hls.segment(facts, segment)
    except OnairError as error:
        raise _absent(error) from None
    headers = {"Cache-Control": PRIVATE if mine else IMMUTABLE}
    return Response(found, media_type=SEGMENT_TYPE, headers=headers)


def _absent(error: OnairError) -> OnairError:
    """503 while something is on its way, 404 when there is nothing; others as they are."""
    if isinstance(error, NotYetError):
        headers = {"Retry-After": "1", "Cache-Control": "no-store"}
        return ProblemError(Answer(503, "not-yet-onair", str(error), headers=headers))
    if isinstance(error, NotOnAirError):
        headers = {"Cache-Control": "no-store"}
        return ProblemError(Answer(404, "not-on-air", str(error), headers=headers))
    return error


@routes.get(
    "/api/rooms/{roomId}/key", response_class=Response, responses=answers(KEY_TYPE, 401, 404)
)
@routes.head("/api/rooms/{roomId}/key", include_in_schema=False)
async def key(ctx: Ctx, room_id: RoomIdPath, nonce: str = "", token: str | None = None) -> Response:
    """Open. The AES-128 key of the room's present time on air, 16 bytes; never cached."""
    facts = await _known(ctx, room_id)
    _may_hear(ctx, facts, token)
    current = _nonce(ctx, facts)
    if current != nonce and is_nonce(nonce):  # perhaps of a start that the copy does not show yet
        facts = await ctx.wishes.read(room_id)
        _may_hear(ctx, facts, token)
        current = _nonce(ctx, facts)
    if current is None or not is_nonce(nonce) or not same_text(nonce, current):
        raise _absent(NotOnAirError("no key goes with this nonce"))
    found = hls_key(ctx.master.get_secret_value(), room_id, current)
    headers = {"Cache-Control": PRIVATE}
    return Response(found, media_type=KEY_TYPE, headers=headers)


@routes.options("/hls/{roomId}/live.m3u8", status_code=204, include_in_schema=False)
@routes.options("/hls/{roomId}/{segment}", status_code=204, include_in_schema=False)
@routes.options("/api/rooms/{roomId}/key", status_code=204, include_in_schema=False)
async def preflight(room_id: RoomIdPath) -> Response:  # noqa: ARG001 it is checked
    """A browser asks before a player on another origin may send more than a plain GET."""
    return Response(status_code=204, headers=PREFLIGHT)


def _nonce(ctx: Context, facts: RoomFacts) -> str | None:
    if facts.live is not None:
        return None if facts.live.status is Desired.REMOVING else facts.live.nonce
    ended = ctx.view.ended(RoomId(facts.room_id))
    return ended.nonce if ended else None

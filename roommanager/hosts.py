"""Routes about hosts: their tokens, who is here, moderation. Most also take a host's token."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends

from pkg.model import Revocation
from pkg.tokens import AIR, MODERATE, Role
from roommanager import moderation, revoking, schemas
from roommanager.callers import OPERATOR, host_may, with_api_key
from roommanager.issuing import Wish, issue, stamp
from roommanager.problems import Answer, ProblemError
from roommanager.requests import (
    Ctx,
    RoomIdPath,
    UserIdPath,
    body,
    body_schema,
    each_once,
    invalid,
)

log = structlog.get_logger()

# The caller first: a stranger learns nothing from what would be refused otherwise.
operators = APIRouter(prefix="/api/rooms", dependencies=[Depends(with_api_key), Depends(each_once)])
guests = APIRouter(prefix="/api/rooms")
any_host = host_may(None)
moderator = host_may(MODERATE)


@operators.post(
    "/{roomId}/tokens",
    status_code=201,
    openapi_extra=body_schema(schemas.IssueToken),
    response_model_exclude_none=True,
)
async def issue_token(
    ctx: Ctx,
    room_id: RoomIdPath,
    wish: Annotated[schemas.IssueToken, Depends(body(schemas.IssueToken))],
) -> schemas.IssuedToken:
    """A token for the gateway (`host`) or for the playlist of a room with a PIN (`listener`).

    A host's token also opens those calls of this room that its grants name.
    """
    await ctx.wishes.read(room_id)
    if wish.as_role is not Role.HOST and wish.grants is not None:
        raise invalid("grants", "only a host has grants; leave them out for a listener")
    grants = (AIR,) if wish.grants is None else wish.grants
    asked = Wish(wish.user_id, wish.as_role, wish.ttl_seconds, grants=grants)
    token, grant = await issue(ctx, room_id, asked)
    return schemas.IssuedToken(
        token=token, expires_at=stamp(grant.expires_at), token_id=grant.token_id
    )


@operators.post(
    "/{roomId}/revocations",
    status_code=201,
    openapi_extra=body_schema(schemas.Revoke),
    response_model_exclude_none=True,
)
async def revoke(
    ctx: Ctx,
    room_id: RoomIdPath,
    wish: Annotated[schemas.Revoke, Depends(body(schemas.Revoke))],
) -> schemas.Revoked:
    """Take back one token, or all that a user was given of this room until now.

    His connection is closed (4401). A token given to him afterwards counts. The revocation
    outlives the room, as long as the tokens would have lived.
    """
    if wish.token_id is not None and wish.user_id is not None:
        raise invalid("userId", "send tokenId or userId, not both")
    await ctx.wishes.read(room_id)
    now = Revocation(before=ctx.clock())
    if wish.token_id is not None:
        found = await revoking.revoke_token(ctx.etcd, wish.token_id, now)
        log.info("token.revoked", room=room_id, token_id=wish.token_id)
    elif wish.user_id is not None:
        found = await revoking.revoke_user(ctx.etcd, room_id, wish.user_id, now)
        log.info("user.revoked", room=room_id, user=wish.user_id)
    else:
        raise invalid("userId", "send tokenId or userId")
    return schemas.Revoked(token_id=wish.token_id, user_id=wish.user_id, before=stamp(found.before))


@guests.get(
    "/{roomId}/participants",
    dependencies=[Depends(any_host), Depends(each_once)],
    response_model_exclude_none=True,
)
async def list_participants(ctx: Ctx, room_id: RoomIdPath) -> schemas.Participants:
    """Who is connected, in the order they came. Also with a token of a host of this room."""
    await ctx.wishes.read(room_id)
    found = await moderation.participants(ctx, room_id)
    return schemas.Participants(participants=[schemas.participant(host) for host in found])


@guests.post(
    "/{roomId}/participants/{userId}/mute",
    dependencies=[Depends(moderator), Depends(each_once)],
    response_model_exclude_none=True,
)
async def mute_participant(
    ctx: Ctx, by: Annotated[str, Depends(moderator)], room_id: RoomIdPath, user_id: UserIdPath
) -> schemas.Participant:
    """Take his voice. Answers when his gateway has done it, or after 2 s with what is so then.

    Also with a host's token that has the grant `moderate`.
    """
    return schemas.participant(await moderation.order(ctx, room_id, user_id, muted=True, by=by))


@guests.post(
    "/{roomId}/participants/{userId}/unmute",
    dependencies=[Depends(moderator), Depends(each_once)],
    response_model_exclude_none=True,
)
async def unmute_participant(
    ctx: Ctx, by: Annotated[str, Depends(moderator)], room_id: RoomIdPath, user_id: UserIdPath
) -> schemas.Participant:
    """Give back the voice that a moderator took; who muted himself is only asked to unmute.

    Answers as `mute` does: with `muted` still true if he has not. Also with a host's token that
    has the grant `moderate`.
    """
    return schemas.participant(await moderation.order(ctx, room_id, user_id, muted=False, by=by))


@guests.post(
    "/{roomId}/participants/{userId}/kick",
    dependencies=[Depends(moderator), Depends(each_once)],
)
async def kick_participant(
    ctx: Ctx, by: Annotated[str, Depends(moderator)], room_id: RoomIdPath, user_id: UserIdPath
) -> schemas.Kicked:
    """Close his connection (4403) and make his tokens void; a new token lets him in again.

    Also with a host's token that has the grant `moderate`, though not on himself.
    """
    if by == user_id and by != OPERATOR:
        detail = "userId: a host cannot kick himself; leave the room instead"
        raise ProblemError(Answer(403, "not-granted", detail))
    await moderation.kick(ctx, room_id, user_id, by=by)
    return schemas.Kicked(user_id=user_id)

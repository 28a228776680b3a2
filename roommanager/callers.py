"""Who calls: an operator with the API key, or a host with a token of the very room.

Hosts may do what a route names, on their own room; elsewhere their token opens nothing. A token
that does not count (forged, over, another room's, revoked) gets the words of a wrong API key.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pkg.tokens import Grant, Role, TokenError
from roommanager import revoking
from roommanager.context import Context
from roommanager.problems import Answer, ProblemError

log = structlog.get_logger()

OPERATOR = "operator"
bearer = HTTPBearer(
    auto_error=False,
    description="the API key that `./onair up` prints; for what hosts may do, a host's token too",
)
Given: TypeAlias = HTTPAuthorizationCredentials | None


async def with_api_key(request: Request, given: Annotated[Given, Depends(bearer)]) -> None:
    """Before anything else is looked at: a stranger learns nothing from validation errors."""
    if not _is_operator(request, given):
        await _token(request, given)
        raise _not_granted("a token does not do here: send the API key")


def host_may(grant: str | None) -> Callable[[Request, Given], Coroutine[Any, Any, str]]:
    """A dependency: the API key, or a token of a host of this room with this grant (None: any).

    Answers the user's id, or OPERATOR.
    """

    async def check(request: Request, given: Annotated[Given, Depends(bearer)]) -> str:
        if _is_operator(request, given):
            return OPERATOR
        found = await _token(request, given)
        if found.role is not Role.HOST:
            raise _not_granted("a listener's token does not do here: send a host's, or the API key")
        if grant is not None and grant not in found.grants:
            raise _not_granted(
                f"this token lacks the grant {grant!r}: ask for one with "
                f'{{"role": "host", "grants": ["{grant}"]}}'
            )
        return found.user

    return check


def _is_operator(request: Request, given: Given) -> bool:
    ctx: Context = request.app.state.context
    return given is not None and ctx.is_api_key(given.credentials)


async def _token(request: Request, given: Given) -> Grant:
    """A living token, of this room if the address names one. Raises ProblemError (401)."""
    if given is None:
        raise _unauthorized("send the header «Authorization: Bearer <api key>»")
    ctx: Context = request.app.state.context
    try:
        found = ctx.tokens.read(given.credentials)
        if request.path_params.get("roomId", found.room_id) != found.room_id:
            raise TokenError("token of another room")
        if await revoking.is_revoked(ctx.etcd, found):
            raise TokenError("revoked")
    except TokenError as error:
        log.info("caller.refused", reason=str(error))
        raise _unauthorized(
            "this is not the API key (./onair up prints it, a service reads it from a file), "
            "nor a token that counts here"
        ) from None
    return found


def _unauthorized(detail: str) -> ProblemError:
    headers = {"WWW-Authenticate": "Bearer"}
    return ProblemError(Answer(401, "unauthorized", detail, headers=headers))


def _not_granted(detail: str) -> ProblemError:
    return ProblemError(Answer(403, "not-granted", detail))

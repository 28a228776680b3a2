"""What routes depend on: the ids in the address, a body that is strict JSON."""

import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ValidationError

from pkg import keys, strictjson
from pkg.model import Kind, ModuleId, RoomId
from roommanager.context import Context
from roommanager.problems import Answer, ProblemError

B = TypeVar("B", bound=BaseModel)
MAX_NAME = 64  # how much of a name that a caller made up is repeated to them


async def context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


Ctx = Annotated[Context, Depends(context)]


async def room_id(room: Annotated[str, Path(alias="roomId")]) -> RoomId:
    if not keys.is_room_id(room):
        raise invalid("roomId", "use 1 to 64 of A-Z a-z 0-9 _ -, the first one a letter or digit")
    return RoomId(room)


async def module_id(module: Annotated[str, Path(alias="moduleId")]) -> ModuleId:
    if not keys.is_module_id(module):
        raise invalid("moduleId", "this is no module's id; see GET /api/modules")
    return ModuleId(module)


async def user_id(user: Annotated[str, Path(alias="userId")]) -> str:
    if not keys.is_user_id(user):
        words = "use 1 to 128 of A-Z a-z 0-9 _ . @ : + -, the first one a letter or digit"
        raise invalid("userId", words)
    return user


async def module_kind(kind: str) -> Kind:
    if kind not in set(Kind):
        raise invalid("kind", "kinds are janus and mixer")
    return Kind(kind)


RoomIdPath = Annotated[RoomId, Depends(room_id)]
ModuleIdPath = Annotated[ModuleId, Depends(module_id)]
UserIdPath = Annotated[str, Depends(user_id)]
KindPath = Annotated[Kind, Depends(module_kind)]


def body(model: type[B]) -> Callable[[Request], Coroutine[Any, Any, B]]:
    """A dependency that reads the body as strict JSON into ``model``; an absent one is ``{}``."""

    async def read(request: Request) -> B:
        raw = await request.body()
        if not raw:
            return _validate(model, {})
        _check_kind(request)
        return _validate(model, strictjson.loads(raw))

    return read


def _check_kind(request: Request) -> None:
    """JSON in UTF-8, as it is: nothing is decompressed, so that nothing can blow up. Raises 415."""
    kind, _, rest = request.headers.get("content-type", "").lower().partition(";")
    charset = [p.partition("=")[2].strip(' "') for p in rest.split(";") if "charset" in p]
    fine = kind.strip() in {"application/json", ""} and set(charset) <= {"utf-8"}
    if not fine or request.headers.get("content-encoding", "identity").lower() != "identity":
        detail = "send the body as «Content-Type: application/json», in UTF-8 and not compressed"
        raise ProblemError(Answer(415, "unsupported-media-type", detail))


async def each_once(request: Request) -> None:
    """A parameter that stands twice is refused: two readers could each take another one.

    Unknown ones are passed over, since players and caches add their own.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if len(names) > 1 and names.count(name) > 1:
            raise invalid(name[:MAX_NAME], "stands twice in the query; send it once")


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """For OpenAPI: the body that ``body(model)`` reads by itself."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": False, "content": content}}


def _validate(model: type[B], value: object) -> B:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ProblemError(problem_of(error)) from None


def problem_of(error: ValidationError) -> Answer:
    """422 that names each field and what is wrong with it; the value itself is not repeated."""
    found = [
        {
            "field": ".".join(str(part)[:MAX_NAME] for part in e["loc"]) or "body",
            "message": e["msg"].removeprefix("Value error, "),
        }
        for e in error.errors(include_input=False, include_url=False)[:20]
    ]
    detail = "; ".join(f"{f['field']}: {f['message']}" for f in found)
    return Answer(422, "invalid-request", detail, {"errors": found})


def invalid(field: str, message: str) -> ProblemError:
    errors = [{"field": field, "message": message}]
    return ProblemError(Answer(422, "invalid-request", f"{field}: {message}", {"errors": errors}))


def same_text(given: str, wanted: str) -> bool:
    """Constant-time comparison of two texts."""
    return hmac.compare_digest(given.encode(), wanted.encode())

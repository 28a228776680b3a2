"""Errors as RFC 9457 problem documents: one table from our exceptions to status, code and words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pkg.errors import OnairError, TransientError
from pkg.etcd.api import AccessError, StorageFullError
from pkg.informer import UndecodableError
from pkg.strictjson import MalformedError
from roommanager.allocator import NoCapacityError
from roommanager.wishes import (
    RoomExistsError,
    RoomNotFoundError,
    RoomRemovingError,
    StillStoppingError,
)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A problem about to be sent. ``extra`` joins the document, ``headers`` the response."""

    status: int
    code: str
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """
        >>> Answer(404, "room-not-found", "there is no room x").document()["title"]
        'Not Found'
        """
        return {
            "type": f"urn:onair:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these answers are problem documents."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


class ProblemError(OnairError):
    """Raised by the API layer to answer with this problem."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


_SIMPLE: tuple[tuple[type[OnairError], int, str], ...] = (
    (RoomNotFoundError, 404, "room-not-found"),
    (RoomRemovingError, 409, "room-removing"),
    (RoomExistsError, 409, "room-exists"),
    (MalformedError, 400, "malformed-json"),
    (UndecodableError, 500, "room-undecodable"),
    (StorageFullError, 503, "storage-full"),
    (StillStoppingError, 503, "room-stopping"),
)


def answer(error: OnairError) -> Answer:
    """Every error of ours has an answer; what is not the caller's fault says when to come back."""
    if isinstance(error, ProblemError):
        return error.answer
    if isinstance(error, NoCapacityError):
        lacking = {kind.value: dict(why) for kind, why in error.refused.items()}
        return Answer(503, "no-capacity", str(error), {"lacking": lacking}, {"Retry-After": "5"})
    for kind, status, code in _SIMPLE:
        if isinstance(error, kind):
            headers = {"Retry-After": "2"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            return Answer(status, code, str(error), headers=headers)
    if isinstance(error, TransientError):
        detail = "etcd does not answer right now; nothing is lost, ask again"
        return Answer(503, "etcd-unavailable", detail, headers={"Retry-After": "2"})
    if isinstance(error, AccessError):
        detail = "etcd refuses this room manager's credentials; its log says more"
        return Answer(503, "etcd-access", detail, headers={"Retry-After": "30"})
    return Answer(500, "internal", "an unexpected error; the log has it under this request's id")

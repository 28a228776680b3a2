"""How a request is refused: a status, words for a person, and the headers the protocol asks for."""

from collections.abc import Mapping
from types import MappingProxyType

from pkg.errors import OnairError

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refusal(OnairError):  # noqa: N818 - an answer of the protocol, not a fault of ours
    """Answered with ``status`` and these headers; ``detail`` is the body's text."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def not_found() -> Refusal:
    return Refusal(404, "there is no such stream")


def gone() -> Refusal:
    """§4.2: deleted, and kept only for its forks."""
    return Refusal(410, "the stream was deleted; its forks live on")

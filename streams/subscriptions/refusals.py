"""How the control interface refuses: a status and a code for programs (§7)."""

from collections.abc import Mapping
from types import MappingProxyType

from pkg.errors import OnairError

NO_FACTS: Mapping[str, object] = MappingProxyType({})


class Denied(OnairError):  # noqa: N818 - an answer of the protocol, not a fault of ours
    """Answered as ``{"error": {"code", "message", …facts}}``."""

    def __init__(
        self, status: int, code: str, detail: str, facts: Mapping[str, object] = NO_FACTS
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.facts = facts


def invalid(detail: str) -> Denied:
    return Denied(400, "INVALID_REQUEST", detail)


def not_there() -> Denied:
    return Denied(404, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription")


def fenced() -> Denied:
    """§7.3: the wake is over, or another one has begun."""
    return Denied(409, "FENCED", "this wake is over")


def bad_offset(detail: str) -> Denied:
    return Denied(409, "INVALID_OFFSET", detail)


def bad_token(detail: str, code: str = "TOKEN_INVALID") -> Denied:
    return Denied(401, code, detail)


def full(detail: str) -> Denied:
    return Denied(429, "LIMIT_REACHED", detail)

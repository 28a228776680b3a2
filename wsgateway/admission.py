"""Who may come in, by what the handshake says. ``server`` asks here first, etcd afterwards.

One text for whatever is wrong with a token; which it was goes to the log (security.md §4.3).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers

from pkg import keys
from pkg.errors import OnairError
from pkg.tokens import Grant, Role, TokenError, Tokens

PATH = "/ws"
PROTOCOL = "onair.v1"
BEARER_PROTOCOL = "bearer."  # how a browser sends a token outside the URL
RETRY_SECONDS = 2
MAX_QUERY_FIELDS = 16


class RefusedError(OnairError):
    """The handshake ends with this answer. Its text is for the caller, ``why`` for the log."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, why: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.why = why or detail


def busy(code: str, detail: str) -> RefusedError:
    """Not now: come back in a moment."""
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, code, detail)


@dataclass(frozen=True, slots=True)
class Asked:
    """A good token, and whether its user wants to take an older connection's place."""

    grant: Grant
    takeover: bool


class Admission:
    """``is_void``: was this one revoked, as far as our copy of etcd knows?"""

    def __init__(
        self, tokens: Tokens, is_void: Callable[[Grant], bool], allowed_origins: Collection[str]
    ) -> None:
        self._tokens = tokens
        self._is_void = is_void
        self._origins = frozenset(allowed_origins)

    def judge(self, target: str, headers: Headers) -> Asked:
        """``target``: the request's, ``/ws?…``. Raises RefusedError."""
        path, _, query = target.partition("?")
        if path != PATH:
            raise RefusedError(HTTPStatus.NOT_FOUND, "not-found", f"hosts connect to {PATH}")
        if not is_welcome(headers, self._origins):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "wrong-origin", "pages of this origin may not connect"
            )
        fields = _fields(query)
        try:
            grant = self._grant(find_token(fields.get("token", []), headers))
        except TokenError as error:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "give a valid host token of the room",
                str(error),
            ) from None
        return Asked(grant, takeover=fields.get("takeover") == ["1"])

    def _grant(self, token: str) -> Grant:
        grant = self._tokens.read(token)
        if grant.role is not Role.HOST:
            raise TokenError("not a host's token")
        if not keys.is_room_id(grant.room_id) or not keys.is_user_id(grant.user):
            raise TokenError("a room or user that cannot be")
        if self._is_void(grant):
            raise TokenError("revoked")
        return grant


def _fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return {}


def find_token(given: Sequence[str], headers: Headers) -> str:
    """The one token given: in the query, as bearer, or beside the subprotocol. Raises TokenError.

    >>> find_token([], Headers({"Sec-WebSocket-Protocol": "onair.v1, bearer.e.y.J"}))
    'e.y.J'
    """
    offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
    names = [name.strip() for name in offered]
    found = {*given}
    found |= {n.removeprefix(BEARER_PROTOCOL) for n in names if n.startswith(BEARER_PROTOCOL)}
    for value in headers.get_all("Authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("an authorization that is no bearer's")
        found.add(credentials.strip())
    if len(found) != 1:
        raise TokenError("more than one token" if found else "no token")
    return found.pop()


def is_welcome(headers: Headers, allowed: Collection[str]) -> bool:
    """Pages of our own host:port and of allowed origins; what is no browser sends no Origin.

    >>> is_welcome(Headers(Origin="http://a:1", Host="a:1"), ())
    True
    >>> is_welcome(Headers(Origin="http://b:1", Host="a:1"), ()), is_welcome(Headers(), ())
    (False, True)
    """
    origins = headers.get_all("Origin")
    if not origins:
        return True
    origin = origins[0].lower()
    if len(origins) > 1 or not origin.startswith(("http://", "https://")):
        return False
    if origin in allowed:
        return True
    return [_netloc(origin)] == [host.lower() for host in headers.get_all("Host")]


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""

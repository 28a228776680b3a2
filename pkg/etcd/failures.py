"""What an error from etcd or grpc means to a caller. Pure; called by ``client`` and ``watching``.

The one question that matters for a write is whether it may have been applied. It surely was
not if etcd refused it before proposing it to raft, or if there was no connection to send it
on. In every other case nobody knows (https://etcd.io/docs/v3.5/learning/api_guarantees/).
"""

from pkg.errors import OnairError
from pkg.etcd.api import (
    AccessError,
    AmbiguousError,
    BadRequestError,
    CompactedError,
    ConflictError,
    StorageFullError,
    UnavailableError,
)

MAX_TEXT = 200  # grpc repeats the address list of a channel; the start says what happened

_UNAUTHENTICATED = (
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",  # no token was sent although etcd asks for one
)
_REFUSED: tuple[tuple[str, type[OnairError], str], ...] = (
    ("database space exceeded", StorageFullError, "compact, defragment, disarm the alarm"),
    ("permission denied", AccessError, "grant the user's role this key range"),
    ("authentication failed", AccessError, "check user and password file"),
    *((text, AccessError, "check user and password file") for text in _UNAUTHENTICATED),
    ("CERTIFICATE", AccessError, "check the CA, certificate and key files"),
    ("certificate", AccessError, "check the CA, certificate and key files"),
    ("requested lease not found", ConflictError, "the lease is gone; grant a new one"),
    ("message larger than max", BadRequestError, "send less at once"),
    ("too many requests", UnavailableError, "etcd is overloaded; try later"),
    ("no leader", UnavailableError, "the cluster has lost its quorum"),
    ("not capable", UnavailableError, "the member is still starting"),
    ("learner", UnavailableError, "the member is a learner; name voting members"),
    ("failed to connect", UnavailableError, "is etcd running there?"),
    ("DNS resolution failed", UnavailableError, "check the endpoint's host name"),
)
_BY_CODE: dict[str, type[OnairError]] = {
    "INVALID_ARGUMENT": BadRequestError,
    "OUT_OF_RANGE": BadRequestError,
    "UNIMPLEMENTED": BadRequestError,
    "NOT_FOUND": BadRequestError,
    "ALREADY_EXISTS": BadRequestError,
    "FAILED_PRECONDITION": BadRequestError,
    "PERMISSION_DENIED": AccessError,
    "UNAUTHENTICATED": AccessError,
}


def translate(code: str, details: str, *, endpoint: str, write: bool) -> OnairError:
    """Say what a failed call means; ``code`` is the name of a gRPC status code.

    >>> translate("UNAVAILABLE", "Socket closed", endpoint="a:1", write=True)
    AmbiguousError('etcd at a:1: the write may have been applied (UNAVAILABLE Socket closed)')
    >>> translate("UNAVAILABLE", "Socket closed", endpoint="a:1", write=False)
    UnavailableError('etcd at a:1: no answer (UNAVAILABLE Socket closed)')
    """
    said = f"({code} {details[:MAX_TEXT]})"
    if "has been compacted" in details:
        return CompactedError(0)
    for text, kind, advice in _REFUSED:
        if text in details:
            return kind(f"etcd at {endpoint}: {advice} {said}")
    if code in _BY_CODE:
        return _BY_CODE[code](f"etcd at {endpoint}: request refused {said}")
    if write:
        return AmbiguousError(f"etcd at {endpoint}: the write may have been applied {said}")
    return UnavailableError(f"etcd at {endpoint}: no answer {said}")


def wants_token(details: str) -> bool:
    """True if etcd refused a call, before doing anything, for want of a valid auth token.

    >>> wants_token("etcdserver: invalid auth token"), wants_token("etcdserver: no leader")
    (True, False)
    """
    return any(text in details for text in _UNAUTHENTICATED)

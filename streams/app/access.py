"""Who may write and who may read: bearer keys from files, compared in constant time."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.protocol.refusal import Refusal
from streams.protocol.requests import Headers


@dataclass(frozen=True, slots=True)
class ReadToken:
    """Opens the streams whose name begins with ``prefix``."""

    secret: bytes = field(repr=False)
    prefix: str = ""


def read_tokens(text: str) -> list[ReadToken]:
    """One a line: the token, and if it does not open all, a blank and the beginning of names.

    >>> [token.prefix for token in read_tokens("abc\\n\\n# a comment\\ndef rooms/\\n")]
    ['', 'rooms/']
    """
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [ReadToken(secret.encode(), prefix.strip()) for secret, _, prefix in pairs]


@dataclass(frozen=True, slots=True)
class Access:
    """``api_key`` may do everything; without one, everybody may write, and without read tokens
    everybody may read."""

    api_key: bytes | None = field(default=None, repr=False)
    tokens: Sequence[ReadToken] = ()

    def check(self, method: str, name: str, headers: Headers) -> None:
        """Raises Refusal 401."""
        given = _bearer(headers)
        if self.api_key is not None and hmac.compare_digest(given, self.api_key):
            return
        if method in {"GET", "HEAD"}:
            allowed = not self.tokens or self._opens(given, name)
        else:
            allowed = self.api_key is None
        if not allowed:
            raise Refusal(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    def _opens(self, given: bytes, name: str) -> bool:
        """Compares all, so that the time taken tells nothing."""
        return True in [
            hmac.compare_digest(given, token.secret) and name.startswith(token.prefix)
            for token in self.tokens
        ]


def _bearer(headers: Headers) -> bytes:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip().encode("latin-1") if scheme.lower() == "bearer" else b""

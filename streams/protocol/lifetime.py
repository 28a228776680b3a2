"""How long a stream lives: a sliding TTL or a fixed end (§5.1), and how both are written."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.protocol.refusal import Refusal

MAX_TTL_SECONDS = 10**12  # 30,000 years
_TTL = re.compile(r"0|[1-9][0-9]{0,12}")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """At most one of the two: seconds without a read or write, or an RFC 3339 text."""

    ttl: int | None = None
    expires_at: str | None = None

    def same(self, other: "Lifetime") -> bool:
        """Two texts may name one moment."""
        return self.ttl == other.ttl and moment(self.expires_at) == moment(other.expires_at)


def parse(ttl: str | None, expires_at: str | None) -> Lifetime | None:
    """None if neither is given. Raises Refusal 400.

    >>> parse("60", None), parse(None, None)
    (Lifetime(ttl=60, expires_at=None), None)
    >>> parse(None, "2030-01-01T00:00:00+01:00")
    Lifetime(ttl=None, expires_at='2030-01-01T00:00:00+01:00')
    >>> for pair in [("060", None), ("1.5", None), (None, "soon"), ("1", "2030-01-01T00:00:00Z")]:
    ...     try: parse(*pair)
    ...     except Refusal as refusal: print(refusal.status)
    400
    400
    400
    400
    """
    if ttl is not None and expires_at is not None:
        raise Refusal(400, "give Stream-TTL or Stream-Expires-At, not both")
    if ttl is not None:
        return Lifetime(ttl=_seconds(ttl))
    if expires_at is not None:
        moment(expires_at)
        return Lifetime(expires_at=expires_at)
    return None


def _seconds(text: str) -> int:
    if not _TTL.fullmatch(text) or int(text) > MAX_TTL_SECONDS:
        raise Refusal(400, "Stream-TTL is a whole number of seconds, without leading zeros")
    return int(text)


def moment(text: str | None) -> float | None:
    """Unix seconds. Raises Refusal 400 for what is no RFC 3339 time with its zone."""
    if text is None:
        return None
    found = _RFC3339.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        date, clock, fraction, zone = found.groups()
        fraction = (fraction or ".0")[:7].ljust(7, "0")
        whole = datetime.fromisoformat(f"{date}T{clock}{fraction}{zone.upper()}")
        return whole.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise Refusal(400, "Stream-Expires-At is an RFC 3339 time with a zone") from None

"""An operator's mark on a module, and its deadline. Times are RFC 3339 UTC."""

from datetime import UTC, datetime, timedelta

from pkg.model import Kind, Mark, MarkRecord


def marked(kind: Kind, mark: Mark, deadline_seconds: float | None, now: float) -> MarkRecord:
    """``now``: seconds since 1970. A deadline means something only while a Janus is draining.

    Not for a mixer: its rooms move at once, and what keeps one there (nobody has a place for it, or
    could feed it elsewhere) no deadline mends.

    >>> marked(Kind.JANUS, Mark.DRAINING, 90.0, 0.0).deadline_at
    '1970-01-01T00:01:30.000Z'
    >>> marked(Kind.MIXER, Mark.DRAINING, 90.0, 0.0).deadline_at is None
    True
    """
    if (kind, mark) != (Kind.JANUS, Mark.DRAINING) or deadline_seconds is None:
        return MarkRecord(mark=mark)
    at = datetime.fromtimestamp(now, UTC) + timedelta(seconds=deadline_seconds)
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return MarkRecord(mark=mark, deadline_seconds=deadline_seconds, deadline_at=text)


def seconds_left(deadline_at: str | None, now: str) -> float | None:
    """Until the deadline, 0 once it has passed; None if there is none that can be read.

    >>> seconds_left("2026-01-01T00:01:30Z", "2026-01-01T00:01:00.000Z")
    30.0
    >>> seconds_left("soon", "2026-01-01T00:01:00.000Z"), seconds_left(None, "x")
    (None, None)
    """
    if deadline_at is None:
        return None
    try:
        left = datetime.fromisoformat(deadline_at) - datetime.fromisoformat(now)
    except (ValueError, TypeError):  # not a time, or one without its zone
        return None
    return max(0.0, left.total_seconds())

"""Say when something begins to fail, at most once a minute while it does, and when it is over.

Whatever is tried again every second would otherwise write a line a second, for every room. What
fails and succeeds by turns is one outage, too: of one name nothing is said twice within a minute,
but that it is over.
"""

from dataclasses import dataclass

import anyio
import structlog

TELL_SECONDS = 60.0
FORGET_SECONDS = 600.0  # one of which nothing was heard for so long: nobody tries any more

log = structlog.get_logger()


@dataclass(slots=True)
class _Outage:
    """``times``: so many failures since it was well. ``told``: of this one; ``told_at``: of any."""

    began: float
    last: float
    told_at: float = -TELL_SECONDS
    times: int = 0
    told: bool = False


class Outages:
    """Of one kind of thing, by name. ``failed`` and ``over`` are the log's events."""

    def __init__(self, failed: str, over: str) -> None:
        self._failed = failed
        self._over = over
        self._known: dict[str, _Outage] = {}

    def failed(self, name: str, **fields: object) -> None:
        """It failed (again); ``times`` and ``seconds`` say how often and for how long by now."""
        now = anyio.current_time()
        found = self._known.get(name) or self._begin(name, now)
        found.began = found.began if found.times else now
        found.last, found.times = now, found.times + 1
        if now - found.told_at >= TELL_SECONDS:
            found.told_at, found.told = now, True
            log.warning(self._failed, **fields, **_extent(found))

    def over(self, name: str, **fields: object) -> None:
        """It succeeded; costs nothing if it had not failed."""
        found = self._known.get(name)
        if found is None or not found.times:
            return
        if found.told:
            log.info(self._over, **fields, **_extent(found))
        found.times, found.told = 0, False

    def _begin(self, name: str, now: float) -> _Outage:
        old = [n for n, known in self._known.items() if now - known.last > FORGET_SECONDS]
        for forgotten in old:
            del self._known[forgotten]
        self._known[name] = begun = _Outage(now, now)
        return begun


def _extent(outage: _Outage) -> dict[str, object]:
    if outage.times == 1:
        return {}
    return {"times": outage.times, "seconds": round(outage.last - outage.began, 1)}

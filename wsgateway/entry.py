"""Whether a host is in his room's AudioBridge, and when to try again if not. Pure.

Hosts of a Janus that died all try again at once: each wait is drawn at random, and doubles while
Janus stays away.
"""

import random

from pkg.backoff import delay
from wsgateway.exchange import Place

BASE_SECONDS = 0.1
CAP_SECONDS = 2.0
# A place that was lost sooner counts as one that never let us in: else a Janus that takes a host
# and drops him again would be asked ten times a second, for ever.
STEADY_SECONDS = 5.0


class Entry:
    """``place``: where we are (``is_in``) or on the way to; None: nowhere."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._since = 0.0
        self.attempt = 0
        self.place: Place | None = None
        self.is_in = False
        self.retry_at: float | None = None

    def begin(self, place: Place) -> int:
        """The attempt's number. News of former attempts is stale from now on."""
        self.attempt += 1
        self.place, self.is_in, self.retry_at = place, False, None
        return self.attempt

    def end(self) -> None:
        """We are nowhere, and news of the last attempt is stale."""
        self.attempt += 1
        self.place, self.is_in = None, False

    def is_way(self, attempt: int) -> bool:
        """The attempt that we wait for."""
        return attempt == self.attempt and self.place is not None and not self.is_in

    def is_stay(self, attempt: int) -> bool:
        """The attempt that got us in."""
        return attempt == self.attempt and self.is_in

    def arrive(self, now: float) -> None:
        self.is_in, self._since = True, now

    def fail(self, now: float) -> None:
        """Neither in nor on the way any more: try again after a while."""
        if self.is_in and now - self._since >= STEADY_SECONDS:
            self._failures = 0
        self.end()
        self._wait(now)
        self._failures += 1

    def move(self, now: float) -> None:
        """There is another place than before; a crowd goes there."""
        self._failures = 0
        self._wait(now)

    def is_due(self, now: float) -> bool:
        return self.retry_at is None or now >= self.retry_at

    def _wait(self, now: float) -> None:
        wait = delay(self._failures, self._rng, base=BASE_SECONDS, cap=CAP_SECONDS)
        self.retry_at = now + wait

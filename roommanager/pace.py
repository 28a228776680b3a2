"""How fast rooms move. The caller owns the clock (seconds that never go back)."""

from pkg.backoff import ceiling
from pkg.model import RoomId
from pkg.tokenbucket import Bucket

REST_SECONDS = 5.0  # after a first move away from a living module, then doubling
REST_CAP_SECONDS = 300.0
SETTLED_SECONDS = 900.0  # a room that stayed so long begins with the short rest again


class Pace:
    """All rooms together; slowly while it is not clear what happened to the fleet."""

    def __init__(self) -> None:
        self._normal = Bucket(rate=10.0, burst=100)
        self._careful = Bucket(rate=1.0, burst=1)

    def take(self, now: float, *, careful: bool) -> float:
        """0: move now. Else nothing is taken: ask again in so many seconds."""
        return (self._careful if careful else self._normal).take(now)


class Rests:
    """One room after the other: a room that fails everywhere must not wander hotly.

    ``moved`` is told of every room manager's moves, else it would wander n times as often with n.

    >>> rests, blue = Rests(), RoomId("blue")
    >>> rests.moved(blue, 100.0); rests.seconds_left(blue, 101.0)
    4.0
    >>> rests.moved(blue, 106.0); rests.seconds_left(blue, 106.0)
    10.0
    """

    def __init__(self) -> None:
        self._moves: dict[RoomId, tuple[int, float]] = {}  # how many, and when the last one was

    def moved(self, room_id: RoomId, now: float) -> None:
        count, last = self._moves.get(room_id, (0, now))
        self._moves[room_id] = (1 if now - last > SETTLED_SECONDS else count + 1, now)

    def seconds_left(self, room_id: RoomId, now: float) -> float:
        if room_id not in self._moves:
            return 0.0
        count, last = self._moves[room_id]
        rest = ceiling(count - 1, base=REST_SECONDS, cap=REST_CAP_SECONDS)
        return max(0.0, last + rest - now)

    def forget(self, room_id: RoomId) -> None:
        self._moves.pop(room_id, None)

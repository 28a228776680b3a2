"""Which faults there are, what each may cost, and in which order a seed does them. Pure.

Not pure chance: every round does each fault once, shuffled, so that none is left out. What a
listener may lose is what the design promises (docs/architecture.md, "When things break").

>>> first, again = rounds(KINDS, seed=1), rounds(KINDS, seed=1)
>>> [next(first) == next(again) for _ in range(3)]
[True, True, True]
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

TTL_SECONDS = 10.0  # of a heartbeat's lease
CONVERGED_SECONDS = 30.0  # after a fault is over, everything must be as it should be
SHORT_SECONDS, LONG_SECONDS = 3.0, TTL_SECONDS + 4.0
AWAY_SECONDS = 20.0
STARTED_AGAIN_SECONDS = 5.0  # audio may be missing so long when what plays is started again
STUCK_SECONDS = 6.0  # three segments: FFmpeg is seen to be stuck
FAILOVER_SECONDS = 16.0  # lease gone, probe failed, another FFmpeg publishes


class Act(StrEnum):
    KILL = "kill -9"
    PAUSE = "pause"
    AWAY = "keep down"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Kind:
    """``part`` is a program that ``up`` runs, ``ffmpeg``, or a machine: ``mixer host``, a daemon
    with its FFmpegs, and ``janus host``, a Janus with its manager.

    ``missing``: seconds of audio that a listener may never get.
    """

    act: Act
    part: str
    missing: float = 0.0
    seconds: float = 0.0  # how long it lasts
    lease: bool = False  # leases may run out meanwhile: one more TTL to converge

    @property
    def name(self) -> str:
        """
        >>> Kind(Act.PAUSE, "mixer", seconds=14).name, Kind(Act.KILL, "etcd").name
        ('pause 14 s mixer', 'kill -9 etcd')
        """
        lasts = f" {self.seconds:g} s" if self.seconds else ""
        return f"{self.act}{lasts} {self.part}"

    @property
    def converged_within(self) -> float:
        return CONVERGED_SECONDS + (TTL_SECONDS if self.lease else 0.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """``pick`` in [0, 1) chooses among the parts there are, so that a seed is a whole schedule."""

    number: int
    kind: Kind
    pick: float


def _kills() -> Iterator[Kind]:
    for part in ("room-manager", "janus-manager", "mixer", "gateway", "etcd"):
        yield Kind(Act.KILL, part)  # what plays goes on without them
    for part in ("ffmpeg", "janus"):
        yield Kind(Act.KILL, part, STARTED_AGAIN_SECONDS)
    yield Kind(Act.KILL, "mixer host", FAILOVER_SECONDS, lease=True)
    yield Kind(Act.KILL, "janus host", STARTED_AGAIN_SECONDS, lease=True)


def _pauses() -> Iterator[Kind]:
    for part in ("room-manager", "janus-manager", "mixer", "gateway", "etcd"):
        yield Kind(Act.PAUSE, part, seconds=SHORT_SECONDS)
    for part in ("ffmpeg", "janus"):
        missing = SHORT_SECONDS + STARTED_AGAIN_SECONDS
        yield Kind(Act.PAUSE, part, missing, SHORT_SECONDS)
    for part in ("room-manager", "janus-manager", "gateway", "etcd"):
        yield Kind(Act.PAUSE, part, seconds=LONG_SECONDS, lease=True)
    # frozen with its lease gone, the origin serves nothing: its rooms go to another mixer
    yield Kind(Act.PAUSE, "mixer", FAILOVER_SECONDS, LONG_SECONDS, lease=True)
    yield Kind(Act.PAUSE, "ffmpeg", STUCK_SECONDS + STARTED_AGAIN_SECONDS, LONG_SECONDS)
    silent = LONG_SECONDS + STARTED_AGAIN_SECONDS
    yield Kind(Act.PAUSE, "janus", silent, LONG_SECONDS, lease=True)
    yield Kind(Act.PAUSE, "mixer host", silent, LONG_SECONDS, lease=True)
    yield Kind(Act.PAUSE, "janus host", silent, LONG_SECONDS, lease=True)


KINDS: tuple[Kind, ...] = (
    *_kills(),
    *_pauses(),
    Kind(Act.AWAY, "etcd", seconds=AWAY_SECONDS, lease=True),
    Kind(Act.DRAIN, "mixer", lease=True),
)


def possible(kinds: Sequence[Kind], names: Collection[str]) -> list[Kind]:
    """Those that the parts of this ``up`` allow: nothing is drained where nothing else can take it.

    >>> "etcd" in {kind.part for kind in possible(KINDS, ["mixer", "janus"])}
    False
    """
    return [kind for kind in kinds if _is_possible(kind, names)]


def _is_possible(kind: Kind, names: Collection[str]) -> bool:
    if kind.act is Act.DRAIN:
        return f"{kind.part}-2" in names
    if kind.part == "janus host":
        return {"janus", "janus-manager"} <= {*names}
    needed = {"ffmpeg": "mixer", "mixer host": "mixer"}.get(kind.part, kind.part)
    return needed in names


def rounds(kinds: Sequence[Kind], seed: int) -> Iterator[list[Fault]]:
    """Endless: in each round every kind once, in an order of its own."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    number = 0
    while True:
        order = rng.sample(kinds, len(kinds))
        yield [Fault(number + n, kind, rng.random()) for n, kind in enumerate(order, 1)]
        number += len(order)

"""How a room's FFmpeg is doing, judged from facts each time. Pure; the caller owns the clock.

The sign of life is the newest segment's number: when it last rose, on our own monotonic clock
(file times follow the wall clock, and may step). A dead or jammed FFmpeg is ``failing``, one
without RTP ``starved``. Reasons never hold running numbers: each new one costs an etcd write.
"""

from dataclasses import dataclass

from mixer.cmdline import LISTEN_SECONDS
from mixer.playlist import Segment
from pkg.model import MixerStatus

QUIET_SEGMENTS = 3  # so many segment durations without a new one are too many
JAMMED_SECONDS = 2 * LISTEN_SECONDS + 10.0  # before the first packet FFmpeg waits twice its timeout
EAGER_SECONDS = 0.1  # while the first segment is awaited, for it decides when a room is on air
EAGER_FOR = 10.0  # then look once a second


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a process and its files showed.

    ``newest`` is the newest playable segment of this very process, ``hollow`` says that files
    are there but empty (FFmpeg on a full disk goes on and says nothing). ``seams``: how many
    EXT-X-DISCONTINUITYs its epoch has had so far after its first segment.
    """

    alive: bool
    paused: bool = False
    newest: Segment | None = None
    hollow: bool = False
    last_words: str = ""
    seams: int = 0


@dataclass(frozen=True, slots=True)
class Pulse:
    """Which segment was the newest (None: none yet), and since when (seconds, monotonic)."""

    sequence: int | None
    since: float


@dataclass(frozen=True, slots=True)
class Health:
    status: MixerStatus
    reason: str | None = None


def pulse(before: Pulse | None, look: Look, now: float) -> Pulse:
    """Carry the pulse over to a new look; ``before`` is None at the first look at a process.

    >>> pulse(Pulse(8, 1.0), Look(alive=True, newest=Segment(8, "s", 2.0)), 3.0)
    Pulse(sequence=8, since=1.0)
    >>> pulse(Pulse(8, 1.0), Look(alive=True, newest=Segment(9, "s", 2.0)), 3.0)
    Pulse(sequence=9, since=3.0)
    """
    sequence = look.newest.sequence if look.newest else None
    if before is not None and (sequence is None or sequence == before.sequence):
        return before
    return Pulse(sequence, now)


def judge(look: Look, beat: Pulse, now: float, segment_seconds: float) -> Health:
    """
    >>> judge(Look(alive=True), Pulse(None, 0.0), 1.0, 2.0)
    Health(status=<MixerStatus.STARTING: 'starting'>, reason=None)
    >>> judge(Look(alive=True), Pulse(9, 0.0), 7.0, 2.0).reason
    'no RTP for 6 s'
    """
    trouble = _trouble(look)
    if trouble:
        return Health(MixerStatus.FAILING, trouble)
    quiet, patience = now - beat.since, QUIET_SEGMENTS * segment_seconds
    if quiet > JAMMED_SECONDS:
        return Health(MixerStatus.FAILING, f"FFmpeg is stuck: no segment for {JAMMED_SECONDS:g} s")
    if quiet > patience:
        return Health(MixerStatus.STARVED, f"no RTP for {patience:g} s")
    if beat.sequence is None:
        return Health(MixerStatus.STARTING)
    return Health(MixerStatus.PUBLISHING)


def _trouble(look: Look) -> str | None:
    if not look.alive:
        return "FFmpeg ended" + (f": {look.last_words}" if look.last_words else " without a word")
    if look.paused:
        return "FFmpeg is stopped by a signal"
    if look.hollow:
        return "FFmpeg writes empty files: is the disk full?"
    return None


def next_look_seconds(health: Health, beat: Pulse, now: float, segment_seconds: float) -> float:
    """When to look again: eagerly for the first segment, then once per segment."""
    if health.status is MixerStatus.PUBLISHING:
        return segment_seconds
    if beat.sequence is None and now - beat.since < EAGER_FOR:
        return EAGER_SECONDS
    return 1.0

"""How a room's FFmpeg is doing, judged from facts each time. Pure; the caller owns the clock.

The sign of life is the newest segment's number: when it last rose, on our own monotonic clock
(file times follow the wall clock, and may step). A dead or stuck FFmpeg is ``failing``, one
without RTP ``starved``; which of the two shows in whether RTP waits unread at its port.
Reasons never hold running numbers: each new one costs an etcd write.
"""

from dataclasses import dataclass

from mixer.cmdline import LISTEN_SECONDS
from mixer.playlist import Segment
from pkg.model import MixerStatus

# So many segment durations without a new one are too many. Looks come twice a segment, so that
# what goes wrong is seen within three segments, wherever in a segment it began.
QUIET_SEGMENTS = 2.5
UNREAD_BYTES = 32 * 1024  # as the kernel counts: a second of RTP; what is read at once is 0
GAVE_UP = "Connection timed out"  # FFmpeg's last words when no RTP came for LISTEN_SECONDS
JAMMED_SECONDS = 2 * LISTEN_SECONDS + 10.0  # before the first packet FFmpeg waits twice its timeout
EAGER_SECONDS = 0.1  # while the first segment is awaited, for it decides when a room is on air
EAGER_FOR = 10.0  # then look once a second


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a process and its files showed.

    ``newest`` is the newest playable segment of this very process, ``hollow`` says that files
    are there but empty (FFmpeg on a full disk goes on and says nothing). ``seams``: how many
    EXT-X-DISCONTINUITYs its epoch has had so far after its first segment. ``deaf``: RTP comes
    and is not read; looked for only in one that ``is_quiet``.
    """

    alive: bool
    paused: bool = False
    newest: Segment | None = None
    hollow: bool = False
    last_words: str = ""
    seams: int = 0
    deaf: bool = False


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


def is_quiet(beat: Pulse, now: float, segment_seconds: float) -> bool:
    """Has it published nothing for too long?"""
    return now - beat.since > QUIET_SEGMENTS * segment_seconds


def gave_up(look: Look) -> bool:
    """Did it end by itself because no RTP came? Then nothing is wrong with it or this host."""
    return not look.alive and look.last_words == GAVE_UP


def no_rtp(segment_seconds: float) -> str:
    return f"no RTP for {QUIET_SEGMENTS * segment_seconds:g} s"


def judge(
    look: Look, beat: Pulse, now: float, segment_seconds: float, *, unfed: bool = False
) -> Health:
    """``unfed``: its predecessor was starved, so this one is until it publishes.

    >>> judge(Look(alive=True), Pulse(None, 0.0), 1.0, 2.0)
    Health(status=<MixerStatus.STARTING: 'starting'>, reason=None)
    >>> judge(Look(alive=True), Pulse(9, 0.0), 7.0, 2.0).reason
    'no RTP for 5 s'
    """
    quiet = is_quiet(beat, now, segment_seconds)
    trouble = _trouble(look, now - beat.since if quiet else 0.0)
    if trouble:
        return Health(MixerStatus.FAILING, trouble)
    if quiet or (unfed and beat.sequence is None):
        return Health(MixerStatus.STARVED, no_rtp(segment_seconds))
    if beat.sequence is None:
        return Health(MixerStatus.STARTING)
    return Health(MixerStatus.PUBLISHING)


def _trouble(look: Look, quiet_seconds: float) -> str | None:
    if not look.alive:
        return "FFmpeg ended" + (f": {look.last_words}" if look.last_words else " without a word")
    if look.paused:
        return "FFmpeg is stopped by a signal"
    if look.hollow:
        return "FFmpeg writes empty files: is the disk full?"
    if look.deaf:
        return "FFmpeg is stuck: it reads no RTP"
    if quiet_seconds > JAMMED_SECONDS:
        return f"FFmpeg is stuck: no segment for {JAMMED_SECONDS:g} s"
    return None


def next_look_seconds(health: Health, beat: Pulse, now: float, segment_seconds: float) -> float:
    """When to look again: eagerly for the first segment, then twice a segment.

    And right when too long a silence is complete.
    """
    if health.status is MixerStatus.PUBLISHING:
        complete = beat.since + QUIET_SEGMENTS * segment_seconds - now
        return max(EAGER_SECONDS, min(segment_seconds / 2, complete))
    if beat.sequence is None and now - beat.since < EAGER_FOR:
        return EAGER_SECONDS
    return 1.0

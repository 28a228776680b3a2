"""At which media sequence numbers the FFmpeg runs of an epoch began, and what follows for players.

Every run opens with EXT-X-DISCONTINUITY, also an epoch's first. FFmpeg never says how many of them
have left its window (RFC 8216 §4.3.3.3), so the origin does, from a list that lies beside the
segments: out of the origin's reach, and there as long as the playlist is. Pure.
"""

import math
import re
from bisect import bisect_left

from mixer.cmdline import first_number

RUNS_FILE = "runs"
LONGEST_FRAME_SECONDS = 0.03  # a segment ends with a whole AAC frame: 1024 samples
_SEQUENCE = re.compile(r"^#EXT-X-MEDIA-SEQUENCE:([0-9]{1,19})$", re.MULTILINE | re.ASCII)
_TARGET = re.compile(r"^#EXT-X-TARGETDURATION:.*$", re.MULTILINE)

Runs = tuple[int, ...]


def parse(text: str, epoch: int) -> Runs:
    """Ascending; two runs with one first number are one, for the former published nothing.

    An epoch without a list was begun by a mixer that kept none: one run so far.

    >>> parse("7340032\\n7340035\\n7340035\\n", 7), parse("", 7)
    ((7340032, 7340035), (7340032,))
    """
    numbers = {int(line) for line in text.split() if re.fullmatch("[0-9]{1,19}", line, re.ASCII)}
    return tuple(sorted(numbers)) or (first_number(epoch),)


def encode(runs: Runs) -> bytes:
    return "".join(f"{number}\n" for number in runs).encode()


def begun_before(runs: Runs, number: int) -> int:
    return bisect_left(runs, number)


def seams(runs: Runs, following: int) -> int:
    """EXT-X-DISCONTINUITYs after the epoch's first segment, in what was listed so far.

    ``following``: the number after the last one listed.
    """
    return max(0, begun_before(runs, following) - 1)


def served(text: str, runs: Runs, segment_seconds: float) -> str:
    """FFmpeg's playlist with what it leaves out (DISCONTINUITY-SEQUENCE) or gets wrong.

    EXT-X-TARGETDURATION must not change (§6.2.1), but FFmpeg makes it up anew from what it lists.

    >>> print(served("#EXTM3U\\n#EXT-X-TARGETDURATION:1\\n#EXT-X-MEDIA-SEQUENCE:9\\n", (7, 8), 2.0))
    #EXTM3U
    #EXT-X-TARGETDURATION:2
    #EXT-X-MEDIA-SEQUENCE:9
    #EXT-X-DISCONTINUITY-SEQUENCE:2
    <BLANKLINE>
    """
    text = _TARGET.sub(f"#EXT-X-TARGETDURATION:{target_seconds(segment_seconds)}", text, count=1)
    return _SEQUENCE.sub(
        lambda found: (
            f"{found[0]}\n#EXT-X-DISCONTINUITY-SEQUENCE:{begun_before(runs, int(found[1]))}"
        ),
        text,
        count=1,
    )


def target_seconds(segment_seconds: float) -> int:
    """No segment, rounded to the nearest integer, is longer (RFC 8216 §4.3.3.1).

    Measured on FFmpeg 5.1: RTP that pauses or comes in a burst, and a frozen FFmpeg, make more
    segments (silence fills the hole), never longer ones.

    >>> [target_seconds(s) for s in (0.5, 1.0, 2.0, 2.4, 2.48, 2.5)]
    [1, 1, 2, 2, 3, 3]
    """
    return max(1, math.floor(segment_seconds + LONGEST_FRAME_SECONDS + 0.5))

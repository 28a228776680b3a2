"""Reads what FFmpeg published: its playlist (RFC 8216) and the last words of its log. Pure.

The playlist is read while FFmpeg replaces it, and after crashes and full disks: whatever is no
whole segment is skipped, never an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PLAYABLE_SECONDS = 0.1  # "RTP never came" leaves one bogus segment of 0.000 s
NOISE = ("frame size not set", "bad cseq", "max delay reached", "missed")  # said in normal life


@dataclass(frozen=True, slots=True)
class Segment:
    sequence: int
    name: str
    seconds: float


def segments(text: str) -> Iterator[Segment]:
    """The playable segments, oldest first.

    >>> [(s.sequence, s.seconds) for s in segments(
    ...     "#EXTM3U\\n#EXT-X-MEDIA-SEQUENCE:8\\n#EXTINF:2.0,\\ns_1_8.ts\\n#EXTINF:0.000000,\\n"
    ...     "s_1_9.ts\\n#EXTINF:1.5,\\ns_1_10.ts\\n#EXTINF:2.0,")]
    [(8, 2.0), (10, 1.5)]
    """
    start = re.search(r"^#EXT-X-MEDIA-SEQUENCE:([0-9]{1,19})$", text, re.MULTILINE)
    sequence = int(start[1]) if start else 0
    seconds: float | None = None
    for line in text.splitlines():
        if found := re.fullmatch(r"#EXTINF:([0-9]{1,9}(?:\.[0-9]{1,9})?),.*", line):
            seconds = float(found[1])
        elif line and not line.startswith("#"):
            if seconds is not None and seconds > PLAYABLE_SECONDS:
                yield Segment(sequence, line, seconds)
            sequence, seconds = sequence + 1, None


def window(text: str) -> range:
    """The numbers it lists, playable or not; FFmpeg goes on with the one after them.

    >>> window("#EXT-X-MEDIA-SEQUENCE:8\\n#EXTINF:2.0,\\ns_1_8.ts\\n"), window("#EXTM3U")
    (range(8, 9), range(0, 0))
    """
    start = re.search(r"^#EXT-X-MEDIA-SEQUENCE:([0-9]{1,19})$", text, re.MULTILINE)
    listed = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    return range(int(start[1]), int(start[1]) + listed) if start and listed else range(0)


def is_silent(text: str) -> bool:
    """Nothing in it has any length: nobody was ever served it."""
    return re.search(r"^#EXTINF:[0-9.]*[1-9]", text, re.MULTILINE) is None


def newest(text: str) -> Segment | None:
    return next(reversed(list(segments(text))), None)


def last_words(log: str) -> str:
    """The cause in FFmpeg's own words, without addresses in memory and paths on our disk.

    >>> last_words("[udp @ 0x55] bind failed: Address already in use\\n"
    ...            "/run/x/room.sdp: Invalid data found when processing input\\n")
    'bind failed: Address already in use'
    >>> last_words("[mpegts @ 0x55] frame size not set\\n/run/x/room.sdp: Connection timed out\\n")
    'Connection timed out'
    """
    lines = [_plain(line) for line in log.splitlines()]
    told = [line for line in lines if line and not any(noise in line for noise in NOISE)]
    causes = [line for line in told if "Invalid data found" not in line]
    return next(reversed(causes or told), "")


def _plain(line: str) -> str:
    line = re.sub(r"^\[[^\]]*\]\s*", "", line)
    line = re.sub(r"(?:/[^\s:'\"]*)+(?::\s*)?", "", line)
    return "".join(char for char in line if char.isprintable()).strip()[:200]

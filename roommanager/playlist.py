"""Compose the playlist listeners get from the one an origin serves. Pure (RFC 8216).

``joined`` puts one epoch's playlist into its time on air; ``compose`` adds our links. FFmpeg's
IVs and dates are kept; the key's address is put in, with the caller's token where the room has a
PIN, and ``#EXT-X-ENDLIST`` once the room has ended.

>>> text = '''#EXTM3U
... #EXT-X-VERSION:6
... #EXT-X-TARGETDURATION:2
... #EXT-X-MEDIA-SEQUENCE:7
... #EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x01
... #EXTINF:2.000000,
... s_5_7.ts
... '''
>>> print(compose(text, Links("../../api/rooms/blue/key?nonce=n", token="t"), ended=True), end="")
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-KEY:METHOD=AES-128,URI="../../api/rooms/blue/key?nonce=n&token=t",IV=0x01
#EXTINF:2.000000,
s_5_7.ts?token=t
#EXT-X-ENDLIST
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

TARGET = "#EXT-X-TARGETDURATION:"
SEQUENCE = "#EXT-X-MEDIA-SEQUENCE:"
SEAM = "#EXT-X-DISCONTINUITY"
SEAMS_BEFORE = "#EXT-X-DISCONTINUITY-SEQUENCE:"
SEGMENT = re.compile(r"s_([0-9]{1,19})_([0-9]{1,19})\.ts", re.ASCII)
_KEY_URI = re.compile(r'URI="[^"]*"')


@dataclass(frozen=True, slots=True)
class Media:
    """An origin's playlist with something to play. ``names`` are its segments, oldest first."""

    text: str
    names: tuple[str, ...]
    target: int


def read(text: str, epoch: int) -> Media | None:
    """None if there is nothing to play in it."""
    if not has_segments(text):
        return None
    names = tuple(line for line in text.splitlines() if epoch_of(line) == epoch)
    return Media(text, names, _number(text, TARGET) or 1)


def joined(text: str, seams: int, target: int) -> str:
    """Say how many discontinuities came before, over all epochs of this time on air (§4.3.3.3).

    ``seams`` is the number of this epoch's first segment. An origin counts for itself, and its
    first run's EXT-X-DISCONTINUITY as well; the very first of all is none, for nothing came before.

    >>> one = "#EXTM3U\\n#EXT-X-MEDIA-SEQUENCE:7\\n#EXT-X-DISCONTINUITY-SEQUENCE:0\\n" + SEAM
    >>> joined(one, 0, 2).split()
    ['#EXTM3U', '#EXT-X-MEDIA-SEQUENCE:7', '#EXT-X-DISCONTINUITY-SEQUENCE:0']
    >>> joined(one, 3, 2).split()[2:]
    ['#EXT-X-DISCONTINUITY-SEQUENCE:2', '#EXT-X-DISCONTINUITY']
    """
    before = seams - 1 + _begun_before(text)
    lines = [line for line in text.splitlines() if not line.startswith(SEAMS_BEFORE)]
    if before < 0 and _opens_with_seam(text):
        lines.remove(SEAM)
    lines = [f"{TARGET}{target}" if line.startswith(TARGET) else line for line in lines]
    place = next((n for n, line in enumerate(lines) if line.startswith(SEQUENCE)), 0) + 1
    lines.insert(place, f"{SEAMS_BEFORE}{max(0, before)}")
    return "\n".join(lines) + "\n"


def _begun_before(text: str) -> int:
    """How many runs of FFmpeg have begun before this window; a mixer may be too old to say so."""
    told = _number(text, SEAMS_BEFORE)
    if told is not None:
        return told
    return 0 if _opens_with_seam(text) else 1


def _opens_with_seam(text: str) -> bool:
    first, _, _ = text.partition("\ns_")
    return SEAM in first.splitlines()


def _number(text: str, tag: str) -> int | None:
    found = re.search(rf"^{tag}([0-9]{{1,9}})$", text, re.MULTILINE | re.ASCII)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses relative to the playlist's own, so that any host name or prefix works."""

    key: str
    token: str | None = None


def compose(text: str, links: Links, *, ended: bool) -> str:
    lines = [_line(line, links) for line in text.splitlines() if line != "#EXT-X-ENDLIST"]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def key_link(room_id: str, nonce: str) -> str:
    return f"../../api/rooms/{room_id}/key?nonce={nonce}"


def _line(line: str, links: Links) -> str:
    if line.startswith("#EXT-X-KEY:"):
        uri = links.key + (f"&token={quote(links.token)}" if links.token else "")
        return _KEY_URI.sub(lambda _: f'URI="{uri}"', line)
    if line.startswith("#") or not line:
        return line
    return line + (f"?token={quote(links.token)}" if links.token else "")


def epoch_of(name: str) -> int | None:
    r"""The epoch in a segment's name; None if it is no segment's name.

    >>> epoch_of("s_5_7.ts"), epoch_of("s_5_7.ts\n"), epoch_of("../s_5_7.ts"), epoch_of("s_٣_7.ts")
    (5, None, None, None)
    """
    match = SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def has_segments(text: str) -> bool:
    """A playlist that FFmpeg left when no sound ever came has one segment of length 0."""
    return re.search(r"^#EXTINF:[0-9.]*[1-9]", text, re.MULTILINE) is not None

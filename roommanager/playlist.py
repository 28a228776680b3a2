"""Compose the playlist listeners get from the one FFmpeg wrote. Pure (RFC 8216).

FFmpeg's IVs and dates are kept; the key's address is put in, with the caller's token where the
room has a PIN, and ``#EXT-X-ENDLIST`` once the room has ended.

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

SEGMENT = re.compile(r"s_([0-9]{1,19})_([0-9]{1,19})\.ts", re.ASCII)
_KEY_URI = re.compile(r'URI="[^"]*"')


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

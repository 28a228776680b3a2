"""A served media playlist as a player reads it (RFC 8216). Pure.

>>> served = parse('''#EXTM3U
... #EXT-X-VERSION:6
... #EXT-X-TARGETDURATION:2
... #EXT-X-MEDIA-SEQUENCE:7
... #EXT-X-DISCONTINUITY-SEQUENCE:3
... #EXT-X-KEY:METHOD=AES-128,URI="k?n=1",IV=0x000000000000000000000000000000ff
... #EXT-X-DISCONTINUITY
... #EXTINF:2.000000,
... #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:10.500+0000
... s_5_7.ts?token=t
... ''')
>>> entry = served.entries[0]
>>> entry.number, entry.at, entry.end, entry.seams, entry.key.uri, entry.key.iv[-1], entry.run
(7, 10.5, 12.5, 4, 'k?n=1', 255, 's_5')
"""

import re
from dataclasses import dataclass
from datetime import datetime

_NUMBERS = re.compile(r"^#EXT-X-(MEDIA-SEQUENCE|DISCONTINUITY-SEQUENCE|TARGETDURATION):([0-9]+)$")
_ATTRIBUTE = re.compile(r'(URI|IV)=("[^"]*"|[^,]*)')


class NoPlaylistError(ValueError):
    """The text is no media playlist with at least one segment; a player could not go on."""


@dataclass(frozen=True, slots=True)
class Key:
    uri: str
    iv: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment as listed. ``at``: PROGRAM-DATE-TIME in seconds since 1970, where it was given.

    ``seams``: discontinuities from the room's first segment to this one, it included.
    """

    number: int
    uri: str
    seconds: float
    at: float | None
    seams: int
    key: Key | None

    @property
    def end(self) -> float | None:
        return None if self.at is None else self.at + self.seconds

    @property
    def name(self) -> str:
        return self.uri.partition("?")[0]

    @property
    def run(self) -> str:
        """What its name has in common with those of its epoch."""
        return self.name.rpartition("_")[0]


@dataclass(frozen=True, slots=True)
class Served:
    """``first``: EXT-X-MEDIA-SEQUENCE; ``target``: EXT-X-TARGETDURATION in seconds."""

    first: int
    target: float
    entries: tuple[Entry, ...]
    ended: bool

    @property
    def last(self) -> int:
        return self.entries[-1].number


def parse(text: str) -> Served:
    """Raises NoPlaylistError."""
    lines = text.splitlines()
    if not lines or lines[0] != "#EXTM3U":
        raise NoPlaylistError("no #EXTM3U in the first line")
    heads = {m[1]: int(m[2]) for line in lines if (m := _NUMBERS.match(line))}
    if "TARGETDURATION" not in heads:
        raise NoPlaylistError("no #EXT-X-TARGETDURATION")
    first = heads.get("MEDIA-SEQUENCE", 0)
    entries = _entries(lines, first, heads.get("DISCONTINUITY-SEQUENCE", 0))
    if not entries:
        raise NoPlaylistError("no segment")
    return Served(first, float(heads["TARGETDURATION"]), entries, "#EXT-X-ENDLIST" in lines)


def _entries(lines: list[str], number: int, seams: int) -> tuple[Entry, ...]:
    found: list[Entry] = []
    key: Key | None = None
    seconds, at = 0.0, None
    for line in lines:
        name, _, value = line.partition(":")
        match name:
            case "#EXT-X-DISCONTINUITY":
                seams += 1
            case "#EXT-X-KEY":
                key = _key(value)
            case "#EXTINF":
                seconds = float(value.partition(",")[0])
            case "#EXT-X-PROGRAM-DATE-TIME":
                at = datetime.fromisoformat(value).timestamp()
            case _ if line and not line.startswith("#"):
                at = at if at is not None or not found else found[-1].end
                found.append(Entry(number, line, seconds, at, seams, key))
                number, at = number + 1, None
    return tuple(found)


def _key(attributes: str) -> Key | None:
    found = {name: value.strip('"') for name, value in _ATTRIBUTE.findall(attributes)}
    if "URI" not in found:
        return None
    return Key(found["URI"], bytes.fromhex(found.get("IV", "0x").removeprefix("0x")))

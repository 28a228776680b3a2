"""Streams as a few lines of Python would keep them: what the store must do, on copies in memory.

A fork copies its source's bytes; nothing is shared, so nothing can be counted wrong.
"""

from dataclasses import dataclass, field

TEXT = "text/plain"
JSON = "application/json"


@dataclass
class Plain:
    content_type: str
    data: bytes
    ttl: int | None
    closed: bool
    source: "Plain | None" = None
    asked: tuple[str | None, int | None, int] = (None, None, 0)
    base: int = 0
    hidden: bool = False
    deadline: float | None = None
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    closed_by: tuple[str, int, int] | None = None
    seq: str | None = None


class Model:
    """Each verb answers its HTTP status; ``now`` is the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.streams: dict[str, Plain] = {}
        self.removed: list[Plain] = []

    def forks_of(self, one: Plain) -> int:
        return sum(other.source is one for other in self.streams.values())

    def restart(self) -> None:
        """TTLs begin anew: how long a server was away is nobody's fault."""
        for one in self.streams.values():
            self.touch(one)

    def touch(self, one: Plain) -> None:
        one.deadline = None if one.ttl is None else self.now + one.ttl

    def expire(self) -> None:
        for name, one in list(self.streams.items()):
            if one.deadline is not None and not one.hidden and self.now >= one.deadline:
                self._take_away(name)

    def _take_away(self, name: str) -> None:
        one = self.streams[name]
        if self.forks_of(one):
            one.hidden = True
            return
        del self.streams[name]
        for above, other in list(self.streams.items()):
            if other is one.source and other.hidden and not self.forks_of(other):
                self._take_away(above)

    def create(self, name: str, kind: str, ttl: int | None, closed: bool, data: bytes) -> int:
        self.expire()
        present = self.streams.get(name)
        if present is None:
            made = self.streams[name] = Plain(kind, data, ttl, closed)
            self.touch(made)
            return 201
        return self._repeated(present, (None, None, 0), (kind, ttl, closed))

    def _repeated(
        self,
        present: Plain,
        asked: tuple[str | None, int | None, int],
        config: tuple[str | None, int | None, bool],
    ) -> int:
        kind, ttl, closed = config
        known = present.asked
        if asked[1] is None:
            known = (known[0], None, known[2])
        same = asked == known and not present.hidden and closed == present.closed
        if asked[0] is None:
            same = same and kind == present.content_type and ttl == present.ttl
        elif ttl is not None:
            same = same and ttl == present.ttl
        if same:
            self.touch(present)
        return 200 if same else 409

    def fork(self, name: str, source: str, offset: int | None, sub: int, ttl: int | None) -> int:
        self.expire()
        asked = (source, offset, sub)
        if name in self.streams:
            return self._repeated(self.streams[name], asked, (None, ttl, False))
        above = self.streams.get(source)
        if above is None:
            return 404
        if above.hidden:
            return 409
        base = self._base(above, offset, sub)
        if base is None:
            return 400
        kept = ttl if ttl is not None else above.ttl
        at = offset if offset is not None else base
        made = Plain(above.content_type, above.data[:base], kept, False, above, base=base)
        made.asked = (source, at, sub)
        self.streams[name] = made
        self.touch(made)
        return 201

    def _base(self, above: Plain, offset: int | None, sub: int) -> int | None:
        anchor = len(above.data) if offset is None else offset
        if anchor > len(above.data):
            return None
        if above.content_type == TEXT:
            return anchor + sub if anchor + sub <= len(above.data) else None
        if anchor and above.data[anchor - 1 : anchor] != b"\n":
            return None
        lines = above.data[anchor:].splitlines(keepends=True)
        return anchor + len(b"".join(lines[:sub])) if sub <= len(lines) else None

    def append(
        self,
        name: str,
        kind: str,
        data: bytes,
        closes: bool,
        claim: tuple[str, int, int] | None,
        seq: str | None,
    ) -> int:
        self.expire()
        one = self.streams.get(name)
        if one is None or one.hidden:
            return 404 if one is None else 410
        verdict = self._verdict(one, kind, data, closes, claim, seq)
        if verdict != 200:
            if verdict == 204:
                self.touch(one)
            return verdict
        self.touch(one)
        one.data += data
        one.closed, one.closed_by = closes, claim if closes else None
        one.seq = seq if seq is not None else one.seq
        if claim:
            one.producers[claim[0]] = claim[1:]
        return 200

    def _verdict(
        self,
        one: Plain,
        kind: str,
        data: bytes,
        closes: bool,
        claim: tuple[str, int, int] | None,
        seq: str | None,
    ) -> int:
        if one.closed:
            bare = closes and not data and claim is None
            return 204 if bare or (claim is not None and claim == one.closed_by) else 409
        if data and kind != one.content_type:
            return 409
        if claim and (status := _turn(one.producers.get(claim[0]), claim)) != 200:
            return status
        if seq is not None and one.seq is not None and seq <= one.seq:
            return 409
        return 200

    def delete(self, name: str) -> int:
        self.expire()
        one = self.streams.get(name)
        if one is None or one.hidden:
            return 404 if one is None else 410
        self._take_away(name)
        return 204


def _turn(place: tuple[int, int] | None, claim: tuple[str, int, int]) -> int:
    _, epoch, number = claim
    if place is None:
        return 200 if number == 0 else 409
    if epoch != place[0]:
        if epoch < place[0]:
            return 403
        return 200 if number == 0 else 400
    if number <= place[1]:
        return 204
    return 200 if number == place[1] + 1 else 409

"""What successive playlists of one room may never do (I12; RFC 8216 §4.3.3, §6.2). Pure.

Fed every playlist in the order a player got them, from whichever replica.
"""

from chaos.playlist import Entry, Served

REMEMBERED = 4096  # segments; over two hours of 2 s ones


class OrderBook:
    def __init__(self) -> None:
        self._last: Served | None = None
        self._entries: dict[int, Entry] = {}
        self._numbers: dict[str, int] = {}  # segment's name → its number

    def read(self, served: Served) -> list[str]:
        """What is wrong with this one after those before it, in words."""
        wrong = [*self._headers(served), *self._seam_at_jump(served)]
        for entry in served.entries:
            wrong += self._entry(entry)
            self._remember(entry)
        self._last = served
        return wrong

    def _headers(self, served: Served) -> list[str]:
        before = self._last
        if before is None:
            return []
        wrong = []
        if served.first < before.first:
            wrong.append(f"media sequence went back from {before.first} to {served.first}")
        if served.last < before.last:
            wrong.append(f"the newest segment went back from {before.last} to {served.last}")
        if served.target != before.target:
            wrong.append(f"target duration changed from {before.target:g} to {served.target:g}")
        if before.ended and not served.ended:
            wrong.append("an ended playlist went on")
        return wrong

    def _entry(self, entry: Entry) -> list[str]:
        wrong = []
        known = self._entries.get(entry.number)
        if known is not None and known.name != entry.name:
            wrong.append(f"segment {entry.number} was {known.name}, is {entry.name}")
        elif known is not None and known.seams != entry.seams:
            wrong.append(
                f"discontinuity sequence of segment {entry.number} was {known.seams}, "
                f"is {entry.seams}"
            )
        number = self._numbers.get(entry.name, entry.number)
        if number != entry.number:
            wrong.append(f"{entry.name} was segment {number}, is {entry.number}")
        return wrong

    def _seam_at_jump(self, served: Served) -> list[str]:
        """The first segment of another epoch is cut off by a discontinuity from the last one."""
        if self._last is None:
            return []
        before = self._last.entries[-1]
        fresh = next((e for e in served.entries if e.number > before.number), None)
        if fresh is None or fresh.run == before.run or fresh.seams > before.seams:
            return []
        return [
            f"from {before.name} to {fresh.name} the discontinuity sequence did not rise "
            f"({before.seams}, then {fresh.seams})"
        ]

    def _remember(self, entry: Entry) -> None:
        self._entries[entry.number] = entry
        self._numbers[entry.name] = entry.number
        while len(self._entries) > REMEMBERED:
            oldest = self._entries.pop(next(iter(self._entries)))
            self._numbers.pop(oldest.name, None)

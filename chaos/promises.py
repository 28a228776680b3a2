"""Whether the API's answers contradict one another, call by call (I8, I13). Pure.

Notes every call in a ``Ledger``, and what the ledger cannot know of a single call: one without an
answer may be done later still, by a room manager that was paused with it, so that its outcome stays
possible, whatever is acknowledged meanwhile, until all is quiet.

>>> promises = Promises(Ledger())
>>> promises.noted("blue", "create", 201), promises.noted("blue", "start", None)
([], [])
>>> promises.noted("blue", "stop", 200), sorted(promises.possible("blue"))
([], ['idle', 'onair'])
>>> promises.noted("blue", "stop", 404)
['I8 blue: stop was answered 404, but it can only be idle or onair']
"""

from collections.abc import Iterable, Mapping

from chaos.ledger import Ledger, State, Verb

GONE: State = "gone"
STATES: dict[str, frozenset[State]] = {
    "gone": frozenset({"gone"}),
    "idle": frozenset({"idle"}),
    "onair": frozenset({"onair"}),
}
LATER = {503, 504}  # nothing can be promised just now; or it was, and is not on air yet
ANSWERS: dict[Verb, set[int]] = {
    "create": {201, 409},
    "start": {200, 404, 409},
    "stop": {200, 404, 409},
    "delete": {202, 404},
}


class Promises:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: dict[str, set[Verb]] = {}  # calls that may be done later still

    def possible(self, room: str) -> frozenset[State]:
        return self._ledger.allowed.get(room, frozenset({GONE}))

    def noted(self, room: str, verb: Verb, status: int | None) -> list[str]:
        """A call's answer, None if there was none. What is wrong with it, in words."""
        if status is None or status >= 500:
            self._open.setdefault(room, set()).add(verb)
            self._ledger.unanswered(room, verb)
            return [] if status is None or status in LATER else [_says(room, verb, status)]
        wrong = list(self._judge(room, verb, status))
        self._ledger.answered(room, verb, status)
        for late in self._open.get(room, ()):
            self._ledger.unanswered(room, late)
        return wrong

    def settled(self, observed: Mapping[str, str]) -> list[str]:
        """All is quiet, and REST shows these rooms: what contradicts a promise, in words.

        From here on what is observed is what was promised: no call is open any more.
        """
        known = self._ledger.allowed
        wrong = [
            f"I8 {room}: REST says {_state(observed, room)}, but it can only be {_words(allowed)}"
            for room, allowed in sorted(known.items())
            if _state(observed, room) not in allowed
        ]
        made = sorted(observed.keys() - known.keys())
        self._open.clear()
        for room, allowed in known.items():
            known[room] = STATES.get(_state(observed, room), allowed)
        return wrong + [f"I7 {room}: is {observed[room]}, and nobody made it" for room in made]

    def _judge(self, room: str, verb: Verb, status: int) -> Iterable[str]:
        possible = self.possible(room)
        if status not in ANSWERS[verb]:
            yield _says(room, verb, status)
        elif status in (201, 404) and GONE not in possible:
            yield f"I8 {_says(room, verb, status)}, but it can only be {_words(possible)}"
        elif status == 200 and possible == {GONE}:
            yield f"I7 {_says(room, verb, status)}, but it was deleted"


def _state(observed: Mapping[str, str], room: str) -> str:
    return observed.get(room, GONE)


def _says(room: str, verb: Verb, status: int) -> str:
    return f"{room}: {verb} was answered {status}"


def _words(states: Iterable[str]) -> str:
    return " or ".join(sorted(states))

"""Any telling, at a server in any weather, with kills at any moment: exactly once, in order.

What may be missing is only what a killed daemon had neither sent nor written, which is the end of
what it told; and, with a small spool, as many as the gap events say.
"""

import random
import tempfile
from pathlib import Path

import anyio
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.telling import House, event

ROOMS = ["a", "b"]
WEATHER = ["", "", "", "away", "lost", "lost", "sick"]
steps = st.one_of(
    st.tuples(st.just("tell"), st.integers(1, 4)),
    st.tuples(st.just("rest"), st.sampled_from([0, 1, 20])),
    st.tuples(st.just("weather"), st.integers(0, 6)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("stop"), st.just(0)),
)


class Story:
    """``lost``: told by a daemon that was killed, neither sent nor written by then."""

    def __init__(self, folder: Path, seed: int, bound: int) -> None:
        self.house = House(folder, bound=bound, rng=random.Random(seed))
        self._rng = random.Random(seed)
        self._steady = True
        self.house.streams.weather = self._weather
        self.told: dict[str, list[int]] = {room: [] for room in ROOMS}
        self.lost: set[tuple[str, int]] = set()
        self.number = 0

    def _weather(self) -> str:
        return "" if self._steady else self._rng.choice(WEATHER)

    async def play(self, plan: list[tuple[str, int]]) -> None:
        lives: list[list[tuple[str, int]]] = [[]]
        for step in plan:
            lives[-1].append(step)
            if step[0] in {"kill", "stop"}:
                lives.append([])
        for life in lives:
            await self._live(life)
        self._steady = True
        async with self.house.telling() as teller:
            while teller.left:
                await anyio.sleep(1)

    async def _live(self, life: list[tuple[str, int]]) -> None:
        async with self.house.telling() as teller:
            for name, number in life:
                match name:
                    case "tell":
                        for _ in range(number):
                            self.number += 1
                            room = self._rng.choice(ROOMS)
                            self.told[room].append(self.number)
                            teller.tell(event(self.number, room))
                    case "rest":
                        await anyio.sleep(number)
                    case "weather":
                        self._steady = number == 0
                    case "kill":
                        self._note_lost(self.house.kill())
                        self.house.streams.weather = lambda: "away"
                    case _:
                        pass
        self.house.streams.weather = self._weather

    def _note_lost(self, kept: set[tuple[str, int]]) -> None:
        for room in ROOMS:
            here = set(self.house.told(room))
            self.lost |= {(room, n) for n in self.told[room] if n not in here} - {
                (room, n) for n in self.told[room] if (room, n) in kept
            }

    def check(self, *, whole: bool) -> None:
        for room in ROOMS:
            stands = self.house.told(room)
            assert stands == sorted(set(stands)), f"{room}: doubled or out of order: {stands}"
            missing = [n for n in self.told[room] if n not in stands]
            gaps = [m for m in self.house.streams.told(room) if m["type"] == "events.dropped"]
            if whole:
                assert not gaps
                assert {(room, n) for n in missing} <= self.lost
            else:
                unsaid = [n for n in missing if (room, n) not in self.lost]
                assert sum(gap["count"] for gap in gaps) >= len(unsaid)


def play(plan: list[tuple[str, int]], seed: int, bound: int) -> Story:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder) / "spool", seed, bound)
        trio.run(story.play, plan, clock=trio.testing.MockClock(autojump_threshold=0))
        return story


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25), st.integers(0, 2**32))
def test_each_event_stands_once_and_in_order(plan: list[tuple[str, int]], seed: int) -> None:
    play(plan, seed, 16 * 1024**2).check(whole=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=25), st.integers(0, 2**32))
def test_with_a_small_spool_gaps_say_what_is_missing(
    plan: list[tuple[str, int]], seed: int
) -> None:
    play(plan, seed, 1200).check(whole=False)

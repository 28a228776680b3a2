"""``./onair modules drain``: what it shows while rooms move, when it ends, and when it says no."""

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import drain, modules, options
from cli.__main__ import app
from cli.client import Client
from cli.drain import DrainError, Progress

Answers = dict[str, Any]


class Scripted(Client):
    """An API whose every path answers the next of a list, and its last one for ever."""

    def __init__(self, answers: dict[str, list[Answers]]) -> None:
        self.answers, self.asked = answers, list[tuple[str, str, object]]()

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        self.asked.append((method, path, body))
        left = self.answers[path]
        return left.pop(0) if len(left) > 1 else left[0]


def module(name: str, **changes: object) -> Answers:
    made = {"kind": "mixer", "moduleId": name, "health": "healthy", "mark": "ready"}
    return made | {"used": 0, "capacity": 4} | changes


def fleet(**of_m1: object) -> Answers:
    return {"modules": [module("m1", **({"mark": "draining"} | of_m1)), module("m2")]}


def rooms(*names: str, mixer: str = "m1") -> Answers:
    return {"rooms": [{"roomId": name, "mixer": {"moduleId": mixer}} for name in names]}


def told(previous: str | None) -> Answers:
    return {"desired": {"previous": {"mixerId": previous} if previous else None}}


def test_a_room_that_left_is_moving_while_the_old_mixer_is_its_previous() -> None:
    api = Scripted(
        {
            "/api/modules": [fleet(used=2)],
            "/api/rooms": [rooms("red")],
            "/api/rooms/blue/explain": [told("m1")],
        }
    )
    before = Progress(("blue", "red"), 2)
    assert drain.look(api, "mixer", "m1", before) == Progress(("red",), 2, ("blue",))


def test_a_room_that_is_heard_from_its_new_place_only_is_not_moving() -> None:
    api = Scripted(
        {
            "/api/modules": [fleet(used=1)],
            "/api/rooms": [rooms("red")],
            "/api/rooms/blue/explain": [told(None)],
        }
    )
    assert drain.look(api, "mixer", "m1", Progress(("red",), 2, ("blue",))).moving == ()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"used": 4}, "m2 is full (4/4)"),
        ({"health": "gone"}, "m2 is gone"),
        ({"mark": "disabled"}, "m2 is disabled"),
    ],
)
def test_it_says_why_no_room_can_leave(other: Answers, says: str) -> None:
    assert says in str(drain.waits([module("m1"), module("m2", **other)], "mixer", "m1"))


def test_without_another_mixer_it_says_so() -> None:
    assert "there is no other" in str(drain.waits([module("m1")], "mixer", "m1"))


def test_rooms_of_a_janus_end_by_themselves_until_the_deadline() -> None:
    janus = module("j1", kind="janus", mark="draining", used=1, deadlineAt="2026-11-21T14:05:06Z")
    placed = {"rooms": [{"roomId": "blue", "janus": {"moduleId": "j1"}}]}
    api = Scripted({"/api/modules": [{"modules": [janus]}], "/api/rooms": [placed]})
    why = drain.look(api, "janus", "j1", None).waits
    assert why == "rooms end by themselves, or move at 14:05:06 UTC"


def test_a_drain_that_somebody_took_back_is_no_success() -> None:
    api = Scripted({"/api/modules": [fleet(mark="ready", used=3)]})
    with pytest.raises(DrainError, match="marked ready by somebody else: 3 rooms stay"):
        drain.look(api, "mixer", "m1", None)


def test_a_module_that_is_gone_holds_nothing() -> None:
    api = Scripted({"/api/modules": [{"modules": []}]})
    assert drain.look(api, "mixer", "m1", Progress(("blue",), 1)).done


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against a scripted API; answers what it printed."""

    def made(api: Scripted, *args: str, code: int = 0) -> str:
        monkeypatch.setattr(options, "connect", lambda _: api)
        monkeypatch.setattr(drain, "LOOK_SECONDS", 0.0)
        done = CliRunner().invoke(app, ["modules", *args])
        assert done.exit_code == code, done.output
        return done.output

    return made


MARK = "/api/modules/mixer/m1/mark"


def test_off_a_terminal_a_drain_returns_at_once_and_says_how_to_take_it_back(run: Run) -> None:
    api = Scripted({MARK: [module("m1", mark="draining", used=3)]})
    said = run(api, "drain", "mixer/m1", "--deadline", "60")
    assert "take it back with: ./onair modules ready mixer/m1" in said
    assert "--deadline has no effect on a mixer: its rooms move at once, one by one" in said
    assert api.asked == [("PUT", MARK, {"mark": "draining", "deadlineSeconds": 60.0})]
    assert "no effect" not in run(api, "drain", "mixer/m1")


def test_with_wait_it_ends_when_no_place_is_held_any_more(run: Run) -> None:
    api = Scripted(
        {
            MARK: [module("m1", mark="draining", used=2)],
            "/api/modules": [fleet(used=2), fleet(used=1), fleet(used=0)],
            "/api/rooms": [rooms("blue", "red"), rooms("red"), rooms()],
            "/api/rooms/blue/explain": [told("m1"), told(None)],
            "/api/rooms/red/explain": [told(None)],
        }
    )
    assert "mixer/m1 is empty after 0 s" in run(api, "drain", "mixer/m1", "--wait")


def test_ctrl_c_leaves_the_drain_going(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(drain, "follow", interrupted)
    api = Scripted({MARK: [module("m1", mark="draining", used=2)]})
    said = run(api, "drain", "mixer/m1", "--wait", code=130)
    assert said.endswith("the drain goes on; take it back with: ./onair modules ready mixer/m1\n")
    assert [method for method, *_ in api.asked] == ["PUT"]


def test_a_janus_without_a_deadline_says_that_its_rooms_end_by_themselves(run: Run) -> None:
    api = Scripted({"/api/modules/janus/j1/mark": [module("j1", kind="janus", used=2)]})
    assert "its 2 rooms end by themselves; --deadline S" in run(api, "drain", "janus/j1")


def test_disabled_is_a_mark_of_its_own(run: Run) -> None:
    api = Scripted({MARK: [module("m1", mark="disabled")]})
    assert "marked disabled" in run(api, "disable", "mixer/m1")
    assert api.asked == [("PUT", MARK, {"mark": "disabled"})]


def test_the_fleet_shows_why_a_module_is_busy_and_until_when_it_drains() -> None:
    busy = module("m1", health="busy", reason="120 MiB free in the media dir", mark="draining")
    shown = modules.table([busy | {"deadlineAt": "2026-11-21T14:05:06Z"}])
    cells = [str(cell) for column in shown.columns for cell in column.cells]
    assert {"busy", "120 MiB free in the media dir", "draining until 14:05:06 UTC"} <= {*cells}

"""``./onair chaos``: its schedule, its judgement of answers, and what it reports."""

import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chaos import report, schedule, tidy
from chaos.ledger import Ledger, Verb
from chaos.lists import Folder, Lists, Process
from chaos.promises import Promises
from chaos.report import Outcome, Report, Violation
from chaos.run import Plan
from chaos.schedule import KINDS, Act, Kind
from pkg.errors import ConfigError
from pkg.model import Epoch, ModuleId, RoomId

SINGLE = ["etcd", "gateway", "janus", "janus-manager", "mixer", "room-manager"]
KILL = Kind(Act.KILL, "mixer")


@given(st.integers())
def test_each_round_has_every_fault_once_and_a_seed_repeats_it(seed: int) -> None:
    first, again = schedule.rounds(KINDS, seed), schedule.rounds(KINDS, seed)
    for one, same in islice(zip(first, again, strict=True), 3):
        assert one == same
        assert {fault.kind for fault in one} == {*KINDS}
        assert len(one) == len(KINDS)


def test_every_process_is_killed_and_paused_for_less_and_for_more_than_a_lease() -> None:
    done = {(kind.act, kind.part, kind.seconds > schedule.TTL_SECONDS) for kind in KINDS}
    for part in (*SINGLE, "ffmpeg"):
        assert (Act.KILL, part, False) in done
        assert {(Act.PAUSE, part, False), (Act.PAUSE, part, True)} <= done
    assert {(Act.KILL, "mixer host", False), (Act.KILL, "janus host", False)} <= done


def test_nothing_is_drained_that_nobody_else_could_take() -> None:
    assert Act.DRAIN not in {kind.act for kind in schedule.possible(KINDS, SINGLE)}
    assert Act.DRAIN in {kind.act for kind in schedule.possible(KINDS, [*SINGLE, "mixer-2"])}


def test_only_takes_faults_by_a_part_of_their_name() -> None:
    plan = Plan(60, 1, 20, ("kill -9 mixer", "etcd"))
    assert {k.part for k in plan.kinds(SINGLE)} == {"mixer", "mixer host", "etcd"}
    with pytest.raises(ConfigError, match="kill -9 mixer"):
        Plan(60, 1, 20, ("nonsense",)).kinds(SINGLE)


@pytest.mark.parametrize(
    ("calls", "wrong"),
    [
        ([("create", 201), ("start", 404)], "I8 blue: start was answered 404"),
        ([("create", 201), ("create", 201)], "I8 blue: create was answered 201"),
        ([("create", 201), ("delete", 202), ("start", 200)], "I7 blue: start was answered 200"),
        ([("create", 500)], "create was answered 500"),
        ([("create", 418)], "create was answered 418"),
    ],
)
def test_an_answer_that_contradicts_another_is_told(
    calls: list[tuple[Verb, int]], wrong: str
) -> None:
    promises = Promises(Ledger())
    said = [promises.noted("blue", verb, status) for verb, status in calls]
    assert not any(said[:-1])
    assert len(said[-1]) == 1
    assert wrong in said[-1][0]


VERBS = st.sampled_from(("create", "start", "stop", "delete"))


@given(st.lists(st.tuples(VERBS, st.booleans()), max_size=12))
def test_a_server_that_does_what_it_answers_is_never_blamed(
    calls: list[tuple[Verb, bool]],
) -> None:
    """Even if every other answer is lost, and what was asked is done all the same."""
    promises, state = Promises(Ledger()), "gone"
    for verb, lost in calls:
        status, state = _serve(state, verb)
        assert promises.noted("blue", verb, None if lost else status) == []
    shown = {} if state == "gone" else {"blue": state}
    assert promises.settled(shown) == []


def _serve(state: str, verb: Verb) -> tuple[int, str]:
    if verb == "create":
        return (201, "idle") if state == "gone" else (409, state)
    if state == "gone":
        return 404, state
    return {"start": (200, "onair"), "stop": (200, "idle"), "delete": (202, "gone")}[verb]


def test_a_lost_call_may_be_done_late_but_not_after_all_was_quiet() -> None:
    promises = Promises(Ledger())
    promises.noted("blue", "create", 201)
    promises.noted("blue", "start", None)
    promises.noted("blue", "stop", 200)
    assert promises.settled({"blue": "onair"}) == []
    assert "can only be onair" in promises.settled({"blue": "idle"})[0]


def test_a_room_that_nobody_made_is_told() -> None:
    assert "nobody made it" in Promises(Ledger()).settled({"blue": "idle"})[0]


def test_leftovers_are_ours_only() -> None:
    mixer, epoch = ModuleId("m1"), Epoch(7)
    lists = Lists(
        keys={"/rooms/our-a/meta": b"", "/onair/ended/m1/our-a": b"", "/rooms/blue/meta": b""},
        processes=(Process(9, mixer, RoomId("our-b"), epoch, 30000),),
        folders=frozenset({Folder(mixer, RoomId("blue"), epoch)}),
    )
    assert tidy.leftovers(lists, "our-") == [
        "I7 key /rooms/our-a/meta",
        "I7 key /onair/ended/m1/our-a",
        "I7 our-b: FFmpeg 9",
    ]


def _text(made: Report) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(report.show(made))
    return out.getvalue()


def test_the_table_has_the_worst_of_each_fault_and_each_violation_in_full() -> None:
    bad = (Violation(report.ORDER, "blue: media sequence went back from 9 to 3"),)
    made = Report(
        [
            Outcome(1, KILL, "mixer", 1.0, 0.0, 0.2, 0.0),
            Outcome(5, KILL, "x", 4.5, 2.0, 3.0, 0.0, bad),
        ]
    )
    shown = _text(made)
    (row,) = [line for line in shown.splitlines() if line.strip().startswith(KILL.name)]
    assert row.split()[3:] == [*["2", "4.5", "s", "2.0", "of", "0", "s", "3.0", "s"], *"01000"]
    assert "#5 kill -9 mixer (x): blue: media sequence went back from 9 to 3" in shown
    assert "2 faults, 1 VIOLATIONS" in shown
    assert made.exit_code == 1


def test_without_a_violation_it_says_that_nothing_is_left() -> None:
    made = Report([Outcome(1, KILL, "mixer", 1.0, 0.0, 0.2, 0.0)])
    assert "1 fault, 0 violations, nothing left over" in _text(made)
    assert made.exit_code == 0

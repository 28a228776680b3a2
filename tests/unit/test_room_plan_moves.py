"""When a room is moved, and that moving comes to an end (I3, I5, I14 of docs/invariants.md)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    Kind,
    LiveMeta,
    MixerStatus,
    ModuleId,
    Previous,
)
from roommanager.allocator import Place
from roommanager.facts import Holding, RoomFacts, places
from roommanager.moves import moved, reassigned
from roommanager.plan import (
    FAILURES,
    OLD_WINDOW_SECONDS,
    UNFED_SECONDS,
    Action,
    Around,
    DropPrevious,
    FinishRemove,
    FinishStop,
    Left,
    MarkOnAir,
    MoveMixer,
    Reassign,
    Standing,
    look_again_seconds,
    plan,
)
from roommanager.status import RoomStatus, derive
from roommanager.verdict import WELL, Fitness, Verdict
from tests.unit.test_room_plan import BASE, HELD, META, ONCE, ROOM, janus, live, mixer

J1, M1, M0 = ModuleId("j1"), ModuleId("m1"), ModuleId("m0")
DEAD = Standing(Verdict(Fitness.DEAD, "it is dead"))
PROVEN = Standing(Verdict(Fitness.DEAD, "it is dead", proven=True))
ILL = Standing(Verdict(Fitness.ILL, "it is ill"))
ANSWERS = Standing(Verdict(Fitness.UNSURE, "it answers", answers=True))
HELD_BACK = Standing(Verdict(Fitness.UNSURE, "many vanished"))
J_AT, M_AT = HELD
J_LEFT = Left(frozenset({(Kind.JANUS, J1)}), (J_AT,), (Kind.JANUS,))
M_LEFT = Left(frozenset({(Kind.MIXER, M1)}), (M_AT,), (Kind.MIXER,))
NO_MIXER = replace(BASE, mixer=None)
M_ONLY_PLACE = replace(M_LEFT, observed=())
BEFORE = Previous(mixer_id=M0, epoch=Epoch(5), slot=3, endpoints=Endpoints())
OLD_PLACE = Holding(Kind.MIXER, M0, 3, Epoch(5), 8)
ON = replace(BASE, live=live(on_air_at=ONCE))
MOVING = replace(
    BASE,
    live=live(on_air_at=ONCE).model_copy(update={"previous": BEFORE}),
    held=(*HELD, OLD_PLACE),
)
FAILING = replace(
    ON, mixer=mixer(MixerStatus.FAILING).model_copy(update={"failures": FAILURES, "reason": "x"})
)


def around(
    of_janus: Standing = Standing(),  # noqa: B008 - frozen
    of_mixer: Standing = Standing(),  # noqa: B008
    of_old: Standing = Standing(),  # noqa: B008
    **more: float,
) -> Around:
    modules = {(Kind.JANUS, J1): of_janus, (Kind.MIXER, M1): of_mixer, (Kind.MIXER, M0): of_old}
    return Around(modules, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "known", "actions"),
    [
        (ON, around(), []),
        (ON, around(of_mixer=ANSWERS, of_janus=ANSWERS), []),
        (ON, around(of_mixer=HELD_BACK, of_janus=HELD_BACK, unfed_seconds=99), []),
        (ON, around(of_mixer=DEAD), [Reassign(Kind.MIXER, "it is dead", M_LEFT, absent=True)]),
        (
            replace(NO_MIXER, live=live()),
            around(of_mixer=DEAD),
            [Reassign(Kind.MIXER, "it is dead", M_ONLY_PLACE, absent=True)],
        ),
        (ON, around(of_mixer=ILL), [Reassign(Kind.MIXER, "it is ill")]),
        (ON, around(of_mixer=ILL, rest_seconds=3), []),
        (
            FAILING,
            around(),
            [Reassign(Kind.MIXER, "its FFmpeg failed 5 times (x)")],
        ),
        (FAILING, around(rest_seconds=3), []),
        (
            ON,
            around(DEAD),
            [Reassign(Kind.JANUS, "it is dead", J_LEFT, absent=True, new_mixer_epoch=True)],
        ),
        (ON, around(PROVEN), [Reassign(Kind.JANUS, "it is dead", J_LEFT, absent=True)]),
        (
            ON,
            around(ILL),
            [Reassign(Kind.JANUS, "it is ill", new_mixer_epoch=True)],
        ),
        (replace(ON, janus=janus(to=6)), around(ANSWERS, unfed_seconds=UNFED_SECONDS - 1), []),
        (
            replace(ON, janus=janus(to=6)),
            around(ANSWERS, unfed_seconds=UNFED_SECONDS),
            [
                Reassign(
                    Kind.JANUS,
                    "it answers; nobody can move its forwarder",
                    absent=True,
                    new_mixer_epoch=True,
                )
            ],
        ),
        (replace(ON, janus=janus(to=6)), around(unfed_seconds=999), []),
        (
            ON,
            around(Standing(overdue=True)),
            [
                Reassign(
                    Kind.JANUS,
                    "it is draining, and its deadline has passed",
                    new_mixer_epoch=True,
                )
            ],
        ),
        (ON, around(may_leave=True), [MoveMixer("it is draining")]),
        (MOVING, around(may_leave=True), []),
        (MOVING, around(on_air_seconds=OLD_WINDOW_SECONDS - 1), []),
        (MOVING, around(on_air_seconds=OLD_WINDOW_SECONDS), [DropPrevious()]),
        (replace(MOVING, mixer=mixer(epoch=5)), around(on_air_seconds=99), []),
        (
            MOVING,
            around(of_old=DEAD),
            [DropPrevious(Left(frozenset({(Kind.MIXER, M0)}), (OLD_PLACE,)))],
        ),
        (
            replace(BASE, live=live(Desired.STOPPING, on_air_at=ONCE)),
            around(DEAD, DEAD),
            [
                FinishStop(
                    keep_playlist=True,
                    left=Left(J_LEFT.dead | M_LEFT.dead, HELD, (Kind.JANUS, Kind.MIXER)),
                )
            ],
        ),
        (replace(BASE, live=live(Desired.REMOVING)), around(DEAD), []),
        (
            replace(BASE, live=live(Desired.REMOVING), mixer=None, held=(J_AT,)),
            around(DEAD),
            [FinishRemove(J_LEFT)],
        ),
        (
            replace(BASE, live=live(Desired.REMOVING), janus=None, mixer=None, held=(OLD_PLACE,)),
            around(),
            [],
        ),
    ],
)
def test_plan(facts: RoomFacts, known: Around, actions: list[Action]) -> None:
    assert plan(facts, known) == actions


def test_the_most_urgent_comes_first_and_the_rest_is_there_if_it_cannot_be_done() -> None:
    known = around(DEAD, DEAD, DEAD)
    kinds = [type(action) for action in plan(replace(MOVING, live=MOVING.live), known)]
    assert kinds == [Reassign, Reassign, DropPrevious]


@pytest.mark.parametrize(
    ("facts", "known", "seconds"),
    [
        (ON, around(), None),
        (MOVING, around(on_air_seconds=5), OLD_WINDOW_SECONDS - 5),
        (FAILING, around(rest_seconds=3), 3),
        (replace(ON, janus=None), around(ANSWERS, unfed_seconds=5), UNFED_SECONDS - 5),
        (replace(ON, janus=None), around(unfed_seconds=5), None),
    ],
)
def test_when_to_look_again(facts: RoomFacts, known: Around, seconds: float | None) -> None:
    assert look_again_seconds(facts, known) == seconds


def run_on(facts: RoomFacts, known: Around) -> RoomFacts:
    """Modules that are not dead do their part."""
    wish = facts.live
    if wish is None:
        return facts
    dead = {module for module, standing in known.modules.items() if standing.is_dead}
    ending = wish.status is not Desired.ONAIR
    mine = {place.key: replace(place, revision=9) for place in places(wish)}
    held = tuple(
        h
        for h in mine.values()
        if not ending or ((h.kind, h.module_id) in dead and h in facts.held)
    )
    told_janus = janus(epoch=wish.janus_epoch, to=wish.mixer_epoch).model_copy(
        update={"janus_id": wish.janus_id}
    )
    told_mixer = mixer(epoch=wish.mixer_epoch).model_copy(update={"mixer_id": wish.mixer_id})
    if (Kind.JANUS, wish.janus_id) not in dead:
        facts = replace(facts, janus=None if ending else told_janus)
    if (Kind.MIXER, wish.mixer_id) not in dead:
        facts = replace(facts, mixer=None if ending else told_mixer)
    return replace(facts, held=held)


def carry_out(facts: RoomFacts, action: Action) -> RoomFacts:
    wish, revision = facts.live, facts.revision + 1
    assert wish is not None
    facts = replace(facts, revision=revision)

    def place(kind: Kind) -> Place:
        return Place(kind, ModuleId(f"new{revision}"), 0, 1, 1, "fits")

    match action:
        case MarkOnAir():
            wish = wish.model_copy(update={"on_air_at": ONCE})
        case FinishStop(left=left):
            return replace(_without(facts, left), live=None)
        case FinishRemove(left=left):
            return replace(_without(facts, left), live=None, meta=None)
        case Reassign(kind=kind, left=left):
            wish = reassigned(facts, wish, place(kind), action)
            facts = _without(facts, left)
        case MoveMixer():
            wish = moved(facts, wish, place(Kind.MIXER), action, Endpoints())
        case DropPrevious(left=left):
            wish = wish.model_copy(update={"previous": None})
            facts = _without(facts, left)
    assert wish.epoch >= facts.live.epoch if facts.live else True
    return replace(facts, live=wish)


def _without(facts: RoomFacts, left: Left) -> RoomFacts:
    return replace(
        facts,
        held=tuple(h for h in facts.held if h not in left.places),
        janus=None if Kind.JANUS in left.observed else facts.janus,
        mixer=None if Kind.MIXER in left.observed else facts.mixer,
    )


standings = st.sampled_from([Standing(), Standing(WELL), DEAD, PROVEN, ILL, ANSWERS, HELD_BACK])
lives = st.builds(live, st.sampled_from(Desired), on_air_at=st.sampled_from([None, ONCE]))


@settings(max_examples=500)
@given(
    wish=lives,
    previous=st.none() | st.just(BEFORE),
    told=st.tuples(st.booleans(), st.booleans()),
    held=st.sets(st.sampled_from([*HELD, OLD_PLACE])).map(tuple),
    known=st.builds(around, standings, standings, standings, may_leave=st.booleans()),
)
def test_converges_from_anywhere_and_then_rests(
    wish: LiveMeta,
    previous: Previous | None,
    told: tuple[bool, bool],
    held: tuple[Holding, ...],
    known: Around,
) -> None:
    """``known`` holds all along; the modules that take over are well."""
    wish = wish.model_copy(update={"previous": previous})
    facts = RoomFacts(ROOM, 9, META, 1, wish, 8, held=held)
    facts = replace(facts, janus=janus() if told[0] else None, mixer=mixer() if told[1] else None)
    for _ in range(12):
        mine = known
        if facts.live and facts.live.mixer_id != M1:
            mine = replace(known, may_leave=False)
        later = replace(mine, on_air_seconds=99.0, unfed_seconds=99.0)
        todo = plan(facts, later)
        if not todo:
            facts = run_on(facts, known)
            todo = plan(facts, later)
        if not todo:
            break
        facts = run_on(carry_out(facts, todo[0]), known)
    assert todo == []
    _in_order(facts, wish.status, known)


def _in_order(facts: RoomFacts, wanted: Desired, known: Around) -> None:
    if wanted is Desired.ONAIR:
        assert facts.live is not None
        assert derive(facts) is RoomStatus.ONAIR
        assert facts.live.previous is None
        for kind in Kind:
            assert not known.of(kind, facts.live.module(kind)).is_dead
            assert not known.of(kind, facts.live.module(kind)).is_ill
    else:
        assert facts.live is None
        assert (facts.meta is None) is (wanted is Desired.REMOVING)

"""The room manager's decisions about one room (I5, I7, I13, I14 of docs/invariants.md)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
    RoomMeta,
)
from roommanager.facts import RoomFacts, places
from roommanager.fleet import Fleet
from roommanager.plan import Action, FinishRemove, FinishStop, MarkOnAir, plan
from roommanager.status import RoomStatus, derive, reason
from roommanager.verdict import WELL, Verdict

ROOM, J, M = RoomId("blue"), ModuleId("j1"), ModuleId("m1")
META = RoomMeta(room_id=ROOM, created_at="2026-01-01T00:00:00Z")


def live(status: Desired = Desired.ONAIR, epoch: int = 7, on_air_at: str | None = None) -> LiveMeta:
    return LiveMeta(
        room_id=ROOM,
        status=status,
        janus_id=J,
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=M,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce="0" * 32,
        started_at="2026-01-01T00:00:00Z",
        on_air_at=on_air_at,
    )


def janus(
    status: JanusStatus = JanusStatus.FORWARDING, epoch: int = 7, to: int | None = 7
) -> JanusState:
    return JanusState(
        janus_id=J,
        janus_room_id=123456,
        status=status,
        epoch=Epoch(epoch),
        endpoints=Endpoints(),
        mixer_epoch=None if to is None else Epoch(to),
    )


def mixer(status: MixerStatus = MixerStatus.PUBLISHING, epoch: int = 7) -> MixerState:
    return MixerState(
        mixer_id=M,
        ip="127.0.0.1",
        port=30000,
        status=status,
        epoch=Epoch(epoch),
        endpoints=Endpoints(),
    )


HELD = tuple(replace(place, revision=8) for place in places(live()))
BASE = RoomFacts(ROOM, 9, META, 1, live(), 8, janus(), mixer(), HELD)


def well(_kind: Kind, _module_id: ModuleId) -> Verdict:
    return WELL


ONCE = "2026-01-01T00:00:03Z"


@pytest.mark.parametrize(
    ("facts", "status", "actions"),
    [
        (replace(BASE, live=None), RoomStatus.IDLE, []),
        (BASE, RoomStatus.ONAIR, [MarkOnAir()]),
        (replace(BASE, live=live(on_air_at=ONCE)), RoomStatus.ONAIR, []),
        (replace(BASE, janus=None), RoomStatus.STARTING, []),
        (replace(BASE, mixer=mixer(MixerStatus.STARTING)), RoomStatus.STARTING, []),
        (replace(BASE, mixer=mixer(epoch=6)), RoomStatus.STARTING, []),
        (replace(BASE, janus=janus(epoch=6)), RoomStatus.STARTING, []),
        (replace(BASE, janus=janus(to=6)), RoomStatus.STARTING, []),
        (replace(BASE, janus=janus(to=None)), RoomStatus.STARTING, []),
        (
            replace(BASE, live=live(on_air_at=ONCE), mixer=mixer(MixerStatus.STARVED)),
            RoomStatus.DEGRADED,
            [],
        ),
        (replace(BASE, live=live(Desired.STOPPING)), RoomStatus.STOPPING, []),
        (
            replace(BASE, live=live(Desired.STOPPING), janus=None, mixer=None),
            RoomStatus.STOPPING,
            [],  # the slots are held still: something of that epoch may run
        ),
        (
            replace(BASE, live=live(Desired.STOPPING), janus=None, mixer=None, held=()),
            RoomStatus.STOPPING,
            [FinishStop(keep_playlist=False)],
        ),
        (
            replace(
                BASE,
                live=live(Desired.STOPPING, on_air_at=ONCE),
                janus=None,
                mixer=None,
                held=(),
            ),
            RoomStatus.STOPPING,
            [FinishStop(keep_playlist=True)],
        ),
        (
            replace(BASE, live=live(Desired.REMOVING), janus=None, held=()),
            RoomStatus.REMOVING,
            [],
        ),
        (
            replace(BASE, live=live(Desired.REMOVING), janus=None, mixer=None, held=()),
            RoomStatus.REMOVING,
            [FinishRemove()],
        ),
    ],
)
def test_status_and_plan(facts: RoomFacts, status: RoomStatus, actions: list[Action]) -> None:
    assert derive(facts) is status
    assert plan(facts) == actions
    assert reason(facts, Fleet(), well).endswith(".")


def test_the_reason_names_the_part_that_lacks_and_why() -> None:
    starved = mixer(MixerStatus.STARVED).model_copy(update={"reason": "no RTP for 6 s"})
    told = reason(replace(BASE, mixer=starved), Fleet(), well)
    assert "ixer m1 gets no sound from Janus (no RTP for 6 s)" in told


def modules_act(facts: RoomFacts) -> RoomFacts:
    """Modules that behave: run what is wanted, end the rest and then give the slot back."""
    wish = facts.live
    if wish is None:
        return facts
    if wish.status is Desired.ONAIR:
        if wish.janus_epoch == 0:
            return facts
        return replace(
            facts,
            janus=janus(epoch=wish.janus_epoch, to=wish.mixer_epoch),
            mixer=mixer(epoch=wish.mixer_epoch),
            held=tuple(replace(place, revision=8) for place in places(wish)),
        )
    return replace(facts, janus=None, mixer=None, held=())


def apply(facts: RoomFacts, actions: list[Action]) -> RoomFacts:
    for action in actions:
        match action:
            case MarkOnAir():
                facts = replace(facts, live=live(on_air_at=ONCE))
            case FinishStop():
                facts = replace(facts, live=None)
            case FinishRemove():
                facts = replace(facts, live=None, meta=None)
            case _:
                raise AssertionError(action)
    return facts


observations = st.builds(
    RoomFacts,
    room_id=st.just(ROOM),
    revision=st.just(9),
    meta=st.just(META),
    meta_revision=st.just(1),
    live=st.none()
    | st.builds(live, st.sampled_from(Desired), on_air_at=st.sampled_from([None, ONCE])),
    live_revision=st.just(8),
    janus=st.none()
    | st.builds(
        janus, st.sampled_from(JanusStatus), st.integers(5, 8), st.none() | st.integers(5, 8)
    ),
    mixer=st.none() | st.builds(mixer, st.sampled_from(MixerStatus), st.integers(5, 8)),
    held=st.sets(st.sampled_from(HELD)).map(tuple),
)


@settings(max_examples=1000)
@given(start=observations)
def test_converges_from_anywhere_and_then_rests(start: RoomFacts) -> None:
    facts = start
    for _ in range(4):
        facts = modules_act(apply(facts, plan(facts)))
    assert plan(facts) == []
    wanted = start.live.status if start.live else None
    expected = {Desired.ONAIR: RoomStatus.ONAIR, Desired.STOPPING: RoomStatus.IDLE}
    if wanted is Desired.REMOVING:
        assert facts.meta is None
    else:
        assert derive(facts) is (expected[wanted] if wanted else RoomStatus.IDLE)

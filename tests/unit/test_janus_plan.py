"""The Janus manager's decisions, case by case."""

from dataclasses import replace

import pytest

from janusmanager.api import Forwarder
from janusmanager.messages import forwarder_ssrc
from janusmanager.plan import (
    Action,
    CreateRoom,
    DestroyRoom,
    Facts,
    Forward,
    Present,
    Report,
    Self,
    StopForward,
    Withdraw,
    plan,
)
from pkg.assignments import Assigned, Held
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    JanusState,
    JanusStatus,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    Previous,
    RoomId,
)

ROOM, J1, M1 = RoomId("blue"), ModuleId("j1"), ModuleId("m1")
ME = Self(J1, Endpoints(ws="ws://j1", admin="http://j1"))
E, OLD, NEWER = Epoch(20), Epoch(10), Epoch(30)
MIX, OLD_MIX = Epoch(20), Epoch(15)
HERE, PORT, NUMBER = "127.0.0.1", 30_000, 123_456
SSRC, OLD_SSRC = forwarder_ssrc(ROOM, MIX), forwarder_ssrc(ROOM, OLD_MIX)

LIVE = LiveMeta(
    room_id=ROOM,
    status=Desired.ONAIR,
    janus_id=J1,
    janus_epoch=E,
    janus_slot=0,
    mixer_id=M1,
    mixer_epoch=MIX,
    mixer_slot=0,
    epoch=E,
    nonce="n",
    started_at="2026-01-01T00:00:00Z",
)
PREVIOUS = Previous(mixer_id=ModuleId("m0"), epoch=OLD_MIX, slot=0, endpoints=Endpoints())
STOPPING = LIVE.model_copy(update={"status": Desired.STOPPING})
MOVED = LIVE.model_copy(update={"janus_id": ModuleId("j2"), "janus_epoch": NEWER})
MIXER = MixerState(
    mixer_id=M1,
    ip=HERE,
    port=PORT,
    status=MixerStatus.STARTING,
    epoch=MIX,
    endpoints=Endpoints(),
)
CREATED = JanusState(
    janus_id=J1,
    janus_room_id=NUMBER,
    status=JanusStatus.ROOM_CREATED,
    epoch=E,
    endpoints=ME.endpoints,
)
FORWARDING = CREATED.model_copy(update={"status": JanusStatus.FORWARDING, "mixer_epoch": MIX})
RIGHT = Forwarder(1, HERE, PORT, SSRC)
FORMER = Forwarder(2, HERE, 31_000, OLD_SSRC)
STRANGER = Forwarder(3, "10.0.0.1", 5_000, 77)
FORWARD = Forward(NUMBER, E, HERE, PORT, SSRC)


def assigned(*held: Epoch, live: LiveMeta | None = LIVE) -> Assigned:
    mine = live is not None and live.janus_id == J1 and live.status is Desired.ONAIR
    wanted = live.janus_epoch if live and mine and live.janus_epoch in held else None
    places = tuple(Held(n, epoch, 100 + n) for n, epoch in enumerate(held))
    return Assigned(ROOM, places, live, 100, wanted)


def room(*forwarders: Forwarder, number: int = NUMBER, epoch: Epoch = E) -> Present:
    return Present(number, epoch, forwarders)


def state(**changes: object) -> JanusState:
    return CREATED.model_copy(update=changes)


WANTED = Facts(assigned(E))
MADE = Facts(assigned(E), (room(),))
ON_AIR = Facts(assigned(E), (room(RIGHT),), FORWARDING, MIXER)

WANTED_CASES: dict[str, tuple[Facts, list[Action]]] = {
    "nothing there yet": (WANTED, [CreateRoom(E)]),
    "lost in a restart of Janus": (replace(ON_AIR, present=()), [CreateRoom(E)]),
    "created, no mixer yet": (MADE, [Report(CREATED)]),
    "just created: `forwarding` may be written at once": (replace(MADE, just_made=True), []),
    "just created, and the port is wrong": (
        replace(MADE, just_made=True, mixer=MIXER.model_copy(update={"port": 0})),
        [Report(CREATED.model_copy(update={"reason": "mixer m1 reports port 0"}))],
    ),
    "created and told": (replace(MADE, observed=CREATED), []),
    "a former mixer's key": (
        replace(MADE, observed=CREATED, mixer=MIXER.model_copy(update={"epoch": OLD_MIX})),
        [],
    ),
    "mixer known: no write on the way": (replace(MADE, mixer=MIXER), [FORWARD]),
    "forwarding, not told": (replace(ON_AIR, observed=CREATED), [Report(FORWARDING)]),
    "on air": (ON_AIR, []),
    "on air, mixer's key gone": (replace(ON_AIR, mixer=None), []),
    "a stranger's forwarder is left alone": (
        replace(ON_AIR, present=(room(RIGHT, STRANGER),)),
        [],
    ),
    "the mixer took another port": (
        replace(ON_AIR, mixer=MIXER.model_copy(update={"port": 30_002})),
        [replace(FORWARD, port=30_002)],
    ),
    "another mixer, not ready: the old forwarder stays": (
        replace(ON_AIR, present=(room(FORMER),), mixer=None),
        [Report(CREATED)],
    ),
    "another mixer, ready": (replace(ON_AIR, present=(room(FORMER),)), [FORWARD]),
    "another mixer, fed": (
        replace(ON_AIR, present=(room(FORMER, RIGHT),)),
        [StopForward(NUMBER, E, FORMER.stream_id)],
    ),
    "forwarded twice": (
        replace(ON_AIR, present=(room(RIGHT, replace(RIGHT, stream_id=9)),)),
        [StopForward(NUMBER, E, 9)],
    ),
    "another Janus wrote the key": (
        replace(ON_AIR, observed=state(janus_id=ModuleId("j0"), epoch=OLD)),
        [Report(FORWARDING)],
    ),
    "two rooms of one epoch: hosts know one": (
        replace(ON_AIR, present=(room(number=100_001), room(RIGHT))),
        [DestroyRoom(100_001, E)],
    ),
    "the forward fails": (
        replace(MADE, observed=CREATED, mixer=MIXER, trouble="no socket"),
        [Report(state(reason="no socket")), FORWARD],
    ),
    "the forward fails, told": (
        replace(MADE, observed=state(reason="no socket"), mixer=MIXER, trouble="no socket"),
        [FORWARD],
    ),
    "the mixer's address is a name": (
        replace(MADE, mixer=MIXER.model_copy(update={"ip": "m1.example"})),
        [Report(state(reason="mixer m1 reports 'm1.example', which is not an IP address"))],
    ),
    "the mixer's port is none": (
        replace(MADE, mixer=MIXER.model_copy(update={"port": 70_000})),
        [Report(state(reason="mixer m1 reports port 70000"))],
    ),
}


@pytest.mark.parametrize("name", WANTED_CASES)
def test_wanted(name: str) -> None:
    facts, expected = WANTED_CASES[name]
    assert plan(facts, ME) == expected


@pytest.mark.parametrize("fed", [False, True])
def test_a_replaced_mixer_is_fed_as_long_as_livemeta_names_it(fed: bool) -> None:
    live = LIVE.model_copy(update={"previous": PREVIOUS})
    present = room(FORMER, RIGHT) if fed else room(FORMER)
    told = FORWARDING if fed else FORWARDING.model_copy(update={"mixer_epoch": OLD_MIX})
    facts = Facts(assigned(E, live=live), (present,), told, MIXER if fed else None)
    assert plan(facts, ME) == []


END: list[Action] = [DestroyRoom(NUMBER, OLD)]
LEFT = (room(epoch=OLD),)

UNWANTED_CASES: dict[str, tuple[Facts, list[Action]]] = {
    "stopping": (
        Facts(assigned(E, live=STOPPING), (room(RIGHT),), FORWARDING, MIXER),
        [DestroyRoom(NUMBER, E)],
    ),
    "stopped here": (
        Facts(assigned(E, live=STOPPING), (), FORWARDING),
        [Withdraw(frozenset({E}))],
    ),
    "livemeta gone, place held": (Facts(assigned(OLD, live=None), LEFT), END),
    "livemeta gone, place held, nothing here": (
        Facts(assigned(OLD, live=None)),
        [Withdraw(frozenset({OLD}))],
    ),
    "moved to another Janus": (Facts(assigned(OLD, live=MOVED), LEFT), END),
    "moved, and its key is the other's": (
        Facts(assigned(OLD, live=MOVED), (), state(janus_id=ModuleId("j2"), epoch=NEWER)),
        [Withdraw(frozenset({OLD}))],
    ),
    "assigned here anew": (
        Facts(assigned(OLD, E), LEFT, state(epoch=OLD)),
        [*END, CreateRoom(E)],
    ),
    "assigned here anew, the old one ended": (
        Facts(assigned(OLD, E), (), state(epoch=OLD)),
        [Withdraw(frozenset({OLD})), CreateRoom(E)],
    ),
    "no place, but superseded": (Facts(assigned(live=LIVE), LEFT), END),
    "no place, but stopping": (
        Facts(assigned(live=STOPPING), (room(),)),
        [DestroyRoom(NUMBER, E)],
    ),
    "no place, unknown": (Facts(assigned(live=None), LEFT), []),
    "no place, unknown, seen in two sweeps": (
        Facts(assigned(live=None), LEFT, orphans=frozenset({OLD})),
        END,
    ),
    "another room's orphan epoch": (
        Facts(assigned(live=None), LEFT, orphans=frozenset({E})),
        [],
    ),
    "newer than livemeta: unknown": (
        Facts(assigned(live=LIVE), (room(epoch=NEWER),)),
        [],
    ),
    "no place, but livemeta names it": (
        Facts(assigned(live=LIVE), (room(),), orphans=frozenset({E})),
        [],
    ),
    "nothing at all": (Facts(assigned(live=None)), []),
}


@pytest.mark.parametrize("name", UNWANTED_CASES)
def test_unwanted(name: str) -> None:
    facts, expected = UNWANTED_CASES[name]
    assert plan(facts, ME) == expected

"""Each checker of the witness finds what is planted for it, and nothing in a system in order."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.judge import always, settled
from chaos.lists import BridgeRoom, Folder, Forward, Lists, Process
from janusmanager.messages import forwarder_ssrc
from pkg import keys
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    Heartbeat,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    Previous,
    Record,
    RoomId,
    RoomMeta,
    Slot,
)

BLUE, RED = RoomId("blue"), RoomId("red")
J1, M1, M2 = ModuleId("j1"), ModuleId("m1"), ModuleId("m2")
EPOCH = Epoch(7)
NOWHERE = Endpoints()
HERE = "127.0.0.1"

LIVE = LiveMeta(
    room_id=BLUE,
    status=Desired.ONAIR,
    janus_id=J1,
    janus_epoch=EPOCH,
    janus_slot=0,
    mixer_id=M1,
    mixer_epoch=EPOCH,
    mixer_slot=0,
    epoch=EPOCH,
    nonce="n",
    started_at="t",
)
MIXER = MixerState(
    mixer_id=M1,
    ip=HERE,
    port=4010,
    status=MixerStatus.PUBLISHING,
    epoch=EPOCH,
    endpoints=NOWHERE,
)
JANUS = JanusState(
    janus_id=J1,
    janus_room_id=1234,
    status=JanusStatus.FORWARDING,
    epoch=EPOCH,
    endpoints=NOWHERE,
    mixer_epoch=EPOCH,
)
FFMPEG = Process(100, M1, BLUE, EPOCH, 4010)
FORWARD = Forward(1, HERE, 4010, forwarder_ssrc(BLUE, EPOCH))
BRIDGE = BridgeRoom(J1, 1234, BLUE, EPOCH, (FORWARD,))
FOLDER = Folder(M1, BLUE, EPOCH)


def beat(capacity: int = 2) -> Heartbeat:
    return Heartbeat(
        status="healthy",
        host="h",
        started_at="t",
        capacity=capacity,
        endpoints=NOWHERE,
        instance_id="i",
        pid=1,
    )


def encoded(records: dict[str, Record]) -> dict[str, bytes]:
    return {key: record.encode() for key, record in records.items()}


KEYS = encoded(
    {
        keys.room(BLUE, "meta"): RoomMeta(room_id=BLUE, created_at="t"),
        keys.room(BLUE, "livemeta"): LIVE,
        keys.room(BLUE, "mixer"): MIXER,
        keys.room(BLUE, "janus"): JANUS,
        keys.heartbeat(Kind.MIXER, M1): beat(),
        keys.heartbeat(Kind.MIXER, M2): beat(),
        keys.heartbeat(Kind.JANUS, J1): beat(),
        keys.slot(Kind.MIXER, M1, 0): Slot(room_id=BLUE, epoch=EPOCH),
        keys.slot(Kind.JANUS, J1, 0): Slot(room_id=BLUE, epoch=EPOCH),
    }
)
GOOD = Lists(
    keys=KEYS,
    processes=(FFMPEG,),
    ports=frozenset({4010, 4011}),
    bridges=(BRIDGE, BridgeRoom(J1, 99)),
    folders=frozenset({FOLDER}),
    allowed={"blue": frozenset({"onair"}), "red": frozenset({"gone"})},
    strangers=frozenset({"key /foreign"}),
    planted=frozenset({"key /foreign"}),
)


def put(lists: Lists, **records: Record | None) -> Lists:
    """By leaf of room blue, or ``m1_3`` for slot 3 of mixer m1; None deletes."""
    changed = dict(lists.keys)
    for name, record in records.items():
        module, _, number = name.partition("_")
        key = keys.slot(Kind.MIXER, ModuleId(module), int(number)) if number else f"{ROOM}{name}"
        changed.pop(key, None)
        if record is not None:
            changed[key] = record.encode()
    return replace(lists, keys=changed)


ROOM = keys.room_prefix(BLUE)


def edited(record: Record, **fields: object) -> Record:
    return record.model_copy(update=fields)


def with_keys(records: dict[str, Record]) -> Lists:
    return replace(GOOD, keys={**KEYS, **encoded(records)})


def test_nothing_is_wrong_with_a_system_in_order() -> None:
    assert always(GOOD, GOOD) == []
    assert settled(GOOD) == []


SLOT = Slot(room_id=BLUE, epoch=EPOCH)
PREVIOUS = Previous(mixer_id=M2, epoch=Epoch(5), slot=0, endpoints=NOWHERE)
ALWAYS: dict[str, tuple[Lists, str]] = {
    "a place beyond capacity": (put(GOOD, m1_2=SLOT), "I2 blue: place 2 of mixer m1, capacity 2"),
    "more slots than capacity": (
        with_keys({keys.heartbeat(Kind.MIXER, M1): beat(0)}),
        "I2 mixer m1: 1 slots, capacity 0",
    ),
    "more rooms than capacity": (
        replace(
            GOOD, processes=tuple(replace(FFMPEG, epoch=Epoch(n), pid=n, port=n) for n in (1, 5, 9))
        ),
        "I2 mixer m1: 3 rooms running, capacity 2",
    ),
    "more AudioBridge rooms than capacity": (
        replace(GOOD, bridges=(BRIDGE, BRIDGE, BRIDGE)),
        "I2 janus j1: 3 rooms running, capacity 2",
    ),
    "a port of two": (
        replace(GOOD, processes=(FFMPEG, replace(FFMPEG, pid=101, room=RED, port=4011))),
        "I6 red: port 4011 belongs to FFmpeg 101 and to FFmpeg 100 of blue",
    ),
    "a stranger touched": (
        replace(GOOD, strangers=frozenset()),
        "I10 key /foreign: Onair did not make it, and it is gone",
    ),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_what_may_never_be_is_found(name: str) -> None:
    lists, words = ALWAYS[name]
    assert words in always(lists)
    assert words in settled(lists)


@pytest.mark.parametrize("field", ["epoch", "janus_epoch", "mixer_epoch"])
def test_an_epoch_that_goes_back_is_found(field: str) -> None:
    older = put(GOOD, livemeta=edited(LIVE, **{field: 6}))
    assert always(older, GOOD) == [f"I3 blue: {field} went back from 7 to 6"]
    assert always(GOOD, older) == []


SETTLED: dict[str, tuple[Lists, str]] = {
    "an end that never comes": (
        put(GOOD, livemeta=edited(LIVE, status=Desired.REMOVING)),
        "I5 blue: still removing",
    ),
    "a move not finished": (
        put(GOOD, livemeta=edited(LIVE, previous=PREVIOUS)),
        "I3 blue: mixer m2 is still kept as previous",
    ),
    "no FFmpeg": (replace(GOOD, processes=()), "I5 blue: 0 FFmpegs of epoch 7, not one"),
    "two FFmpegs": (
        replace(GOOD, processes=(FFMPEG, replace(FFMPEG, pid=101, port=4020))),
        "I5 blue: 2 FFmpegs of epoch 7, not one",
    ),
    "FFmpeg at another port": (
        replace(GOOD, processes=(replace(FFMPEG, port=4012),)),
        "I5 blue: FFmpeg at m1 port 4012, etcd says m1 port 4010",
    ),
    "an orphan FFmpeg": (
        replace(GOOD, processes=(FFMPEG, replace(FFMPEG, pid=101, mixer_id=M2, port=4020))),
        "I5 blue: orphan FFmpeg 101 of epoch 7 at m2",
    ),
    "a mixer that does not report": (
        put(GOOD, mixer=None),
        "I5 blue: mixer m1 does not report epoch 7",
    ),
    "a starved mixer": (
        put(GOOD, mixer=edited(MIXER, status=MixerStatus.STARVED, reason="no sound")),
        "I5 blue: its mixer is starved: no sound",
    ),
    "a Janus that does not report": (
        put(GOOD, janus=edited(JANUS, epoch=6)),
        "I5 blue: Janus j1 does not report epoch 7",
    ),
    "a Janus that does not forward": (
        put(GOOD, janus=edited(JANUS, mixer_epoch=6)),
        "I5 blue: its Janus is forwarding to mixer epoch 6",
    ),
    "a mute Janus": (
        replace(GOOD, bridges=(), mute=frozenset({J1})),
        "I5 blue: its Janus j1 does not answer",
    ),
    "no AudioBridge room": (
        replace(GOOD, bridges=()),
        "I5 blue: 0 AudioBridge rooms in j1, not one",
    ),
    "an orphan AudioBridge room": (
        replace(GOOD, bridges=(BRIDGE, replace(BRIDGE, number=5, epoch=Epoch(3)))),
        "I5 blue: orphan AudioBridge room 5 of epoch 3 in j1",
    ),
    "two forwarders": (
        replace(GOOD, bridges=(replace(BRIDGE, forwards=(FORWARD, FORWARD)),)),
        "I5 blue: 2 forwarders, not one",
    ),
    "a forwarder to another port": (
        replace(GOOD, bridges=(replace(BRIDGE, forwards=(replace(FORWARD, port=4012),)),)),
        "I5 blue: forwards to 127.0.0.1:4012 (ssrc 0x284e0007), its mixer listens at "
        "127.0.0.1:4010 (ssrc 0x284e0007)",
    ),
    "a lost slot": (put(GOOD, m1_0=None), "I5 blue: slot 0 of mixer m1 is not its own"),
    "a slot of another epoch": (
        put(GOOD, m1_0=Slot(room_id=BLUE, epoch=Epoch(6))),
        "I5 blue: slot 0 of mixer m1 is not its own",
    ),
    "a leaked slot": (
        put(GOOD, m2_1=Slot(room_id=RED, epoch=EPOCH)),
        "I5 red: leaked slot 1 of mixer m2",
    ),
    "a port not bound": (
        replace(GOOD, ports=frozenset({4010})),
        "I5 blue: FFmpeg 100 has not bound port 4011",
    ),
    "a port of nobody": (
        replace(GOOD, ports=GOOD.ports | {4099}),
        "I5 port 4099: bound by nobody's FFmpeg",
    ),
    "a folder left": (
        replace(GOOD, folders=GOOD.folders | {Folder(M2, RED, Epoch(3))}),
        "I7 red: folder of epoch 3 is left at m2",
    ),
    "keys of no room": (
        with_keys({keys.room(RED, "mixer"): MIXER}),
        "I7 red: key /rooms/red/mixer of a room that does not exist",
    ),
    "a deleted room that is there": (
        with_keys({keys.room(RED, "meta"): RoomMeta(room_id=RED, created_at="t")}),
        "I7 red: is idle, acknowledged was gone",
    ),
    "an acknowledged start that was lost": (
        put(GOOD, livemeta=None),
        "I8 blue: is idle, acknowledged was onair",
    ),
    "an observed key of a room not started": (
        put(GOOD, livemeta=None),
        "I5 blue: key /rooms/blue/mixer of a room that is not started",
    ),
}


@pytest.mark.parametrize("name", SETTLED)
def test_what_may_not_stay_is_found(name: str) -> None:
    lists, words = SETTLED[name]
    assert words in settled(lists)


LEFT_AT_M2: dict[str, Callable[[Lists], Lists]] = {
    "process": lambda lists: replace(
        lists,
        processes=(*lists.processes, Process(101, M2, RED, EPOCH, 4020)),
        ports=lists.ports | {4020, 4021},
    ),
    "folder": lambda lists: replace(lists, folders=lists.folders | {Folder(M2, RED, EPOCH)}),
}


@pytest.mark.parametrize("what", LEFT_AT_M2)
def test_what_lies_at_a_dead_module_is_not_held_against_it(what: str) -> None:
    left = LEFT_AT_M2[what](GOOD)
    assert len(settled(left)) == 1
    dead = {key: value for key, value in KEYS.items() if "/m2/" not in key}
    assert settled(replace(left, keys=dead)) == []


def test_an_older_epochs_folder_may_stay_only_where_its_room_is_on_air() -> None:
    older = Epoch(EPOCH - 1)
    here = replace(GOOD, folders=GOOD.folders | {Folder(M1, BLUE, older)})
    assert settled(here) == []
    elsewhere = replace(GOOD, folders=GOOD.folders | {Folder(M2, BLUE, older)})
    assert settled(elsewhere) == [f"I7 blue: folder of epoch {older} is left at m2"]

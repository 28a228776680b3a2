"""From any observation, with Janus and etcd behaving, the plan converges (I5, I14)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from janusmanager.api import Forwarder
from janusmanager.messages import forwarder_ssrc, is_our_ssrc, match_forwarders
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

ROOM, J1, J2 = RoomId("blue"), ModuleId("j1"), ModuleId("j2")
ME = Self(J1, Endpoints(ws="ws://j1"))
STRANGER_SSRC = 77
ROUNDS = 8  # as in janusmanager.controller


@dataclass
class World:
    """Etcd and one Janus, as far as one room goes."""

    held: list[Epoch]
    live: LiveMeta | None
    observed: JanusState | None
    mixer: MixerState | None
    present: dict[int, Present]
    orphans: frozenset[Epoch]
    trouble: str | None
    stream_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1_000))

    def facts(self) -> Facts:
        live = self.live
        on_air = live is not None and live.status is Desired.ONAIR and live.janus_id == J1
        wanted = live.janus_epoch if live and on_air and live.janus_epoch in self.held else None
        held = tuple(Held(n, epoch, n + 1) for n, epoch in enumerate(self.held))
        assigned = Assigned(ROOM, held, live, 1, wanted)
        present = tuple(self.present.values())
        return Facts(assigned, present, self.observed, self.mixer, self.orphans, self.trouble)

    def act(self, action: Action) -> None:
        match action:
            case CreateRoom(epoch):
                number = next(n for n in range(100_000, 100_100) if n not in self.present)
                self.present[number] = Present(number, epoch)
            case DestroyRoom(number, _):
                del self.present[number]
            case Forward():
                self._forward(action)
            case StopForward(number, _, stream_id):
                self._keep(number, [f for f in self._there(number) if f.stream_id != stream_id])
            case Report(state):
                self.observed = state
            case Withdraw(epochs):
                self.held = [e for e in self.held if e not in epochs]
                if self.observed is not None and self.observed.epoch in epochs:
                    self.observed = None

    def _forward(self, action: Forward) -> None:
        there = self._there(action.number)
        keep, surplus = match_forwarders(there, action.host, action.port, action.ssrc)
        rest = [f for f in there if f.stream_id not in surplus]
        if keep is None:
            made = Forwarder(next(self.stream_ids), action.host, action.port, action.ssrc)
            rest.append(made)
        self._keep(action.number, rest)
        self.trouble = None

    def _there(self, number: int) -> tuple[Forwarder, ...]:
        return self.present[number].forwarders

    def _keep(self, number: int, forwarders: list[Forwarder]) -> None:
        self.present[number] = replace(self.present[number], forwarders=tuple(forwarders))


# Few values, the usual ones more often: what matters is that they meet.
epochs = st.integers(1, 3).map(Epoch)
ports = st.sampled_from([30_000, 30_000, 30_002, 70_000])
hosts = st.sampled_from(["127.0.0.1", "127.0.0.1", "127.0.0.1", "10.0.0.2", "m1.example"])
ssrcs = st.one_of(epochs.map(lambda e: forwarder_ssrc(ROOM, e)), st.just(STRANGER_SSRC))
numbers = st.integers(100_000, 100_003)
endpoints = st.sampled_from([Endpoints(ws="ws://j1"), Endpoints(ws="ws://old")])
modules = st.sampled_from([J1, J1, J1, J2])


@st.composite
def lives(draw: st.DrawFn) -> LiveMeta:
    former = draw(st.none() | epochs)
    before = Previous(mixer_id=J2, epoch=former, slot=0, endpoints=Endpoints()) if former else None
    return LiveMeta(
        room_id=ROOM,
        status=draw(st.sampled_from([Desired.ONAIR, Desired.ONAIR, *Desired])),
        janus_id=draw(modules),
        janus_epoch=draw(epochs),
        janus_slot=0,
        mixer_id=J1,
        mixer_epoch=draw(epochs),
        mixer_slot=0,
        epoch=Epoch(3),
        nonce="n",
        started_at="",
        previous=before,
    )


# Not st.builds: it makes up values for a record's aliases besides, and those win.
@st.composite
def observations(draw: st.DrawFn) -> JanusState:
    return JanusState(
        janus_id=draw(modules),
        janus_room_id=draw(numbers),
        status=draw(st.sampled_from(JanusStatus)),
        epoch=draw(epochs),
        endpoints=draw(endpoints),
        mixer_epoch=draw(st.none() | epochs),
        reason=draw(st.none() | st.just("why")),
    )


@st.composite
def mixers(draw: st.DrawFn) -> MixerState:
    return MixerState(
        mixer_id=J1,
        ip=draw(hosts),
        port=draw(ports),
        status=MixerStatus.STARTING,
        epoch=draw(epochs),
        endpoints=Endpoints(),
    )


forwarders = st.lists(
    st.builds(Forwarder, st.integers(1, 99), hosts, ports, ssrcs),
    max_size=4,
    unique_by=lambda f: f.stream_id,
).map(tuple)
rooms = st.lists(
    st.builds(Present, numbers, epochs, forwarders), max_size=4, unique_by=lambda p: p.number
).map(lambda found: {p.number: p for p in found})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    live = draw(st.one_of(lives(), lives(), lives(), st.none()))
    held = draw(st.sets(epochs, max_size=3))
    if live is not None and draw(st.integers(0, 3)):
        held.add(live.janus_epoch)
    return World(
        held=sorted(held),
        live=live,
        observed=draw(st.none() | observations()),
        mixer=draw(st.one_of(mixers(), mixers(), st.none())),
        present=draw(rooms),
        orphans=draw(st.frozensets(epochs)),
        trouble=draw(st.none() | st.just("no socket")),
    )


def settle(world: World) -> None:
    for _ in range(ROUNDS):
        actions = plan(world.facts(), ME)
        if not actions:
            return
        for action in actions:
            world.act(action)
    raise AssertionError(f"not settled: {actions}")


def strangers(*present: Present) -> set[Forwarder]:
    return {f for p in present for f in p.forwarders if not is_our_ssrc(ROOM, f.ssrc)}


@settings(max_examples=200)
@given(worlds())
def test_it_converges_and_then_does_nothing(world: World) -> None:
    settle(world)
    assert plan(world.facts(), ME) == []
    assert set(world.held) <= {world.facts().assigned.wanted}


@settings(max_examples=200)
@given(worlds())
def test_a_wanted_room_is_there_once_fed_once_and_told(world: World) -> None:
    wanted = world.facts().assigned.wanted
    settle(world)
    if wanted is None or world.live is None:
        return
    (room,) = [p for p in world.present.values() if p.epoch == wanted]
    assert world.observed is not None
    assert world.observed.janus_room_id == room.number
    assert world.observed.endpoints == ME.endpoints
    ssrc = forwarder_ssrc(ROOM, world.live.mixer_epoch)
    fed = [f for f in room.forwarders if f.ssrc == ssrc]
    told = world.observed.mixer_epoch == world.live.mixer_epoch
    assert told == bool(fed)
    mixer = world.mixer
    known = mixer is not None and mixer.epoch == world.live.mixer_epoch
    if known and mixer is not None and mixer.ip != "m1.example" and mixer.port < 65_536:
        assert [(f.host, f.port) for f in fed] == [(mixer.ip, mixer.port)]
        ours = {f.ssrc for f in room.forwarders if is_our_ssrc(ROOM, f.ssrc)}
        before = world.live.previous
        assert ours <= {ssrc} | ({forwarder_ssrc(ROOM, before.epoch)} if before else set())


@settings(max_examples=200)
@given(worlds())
def test_a_mixer_being_replaced_stays_fed_if_it_was(world: World) -> None:
    live, wanted = world.live, world.facts().assigned.wanted
    before = dict(world.present)
    settle(world)
    if live is None or live.previous is None or live.previous.epoch >= live.mixer_epoch:
        return
    ssrc = forwarder_ssrc(ROOM, live.previous.epoch)
    for number, now in world.present.items():
        if now.epoch == wanted and number in before and before[number].epoch == wanted:
            was = {f.stream_id for f in before[number].forwarders if f.ssrc == ssrc}
            assert was <= {f.stream_id for f in now.forwarders}


@settings(max_examples=200)
@given(worlds())
def test_what_is_not_wanted_and_not_unknown_is_gone(world: World) -> None:
    first = world.facts()
    settle(world)
    left = {p.epoch for p in world.present.values()} - {first.assigned.wanted}
    assert left.isdisjoint(h.epoch for h in first.assigned.held)
    if first.assigned.live is None:
        assert left.isdisjoint(first.orphans)


@settings(max_examples=200)
@given(worlds())
def test_strangers_forwarders_live_as_long_as_their_room(world: World) -> None:
    before = dict(world.present)
    settle(world)
    after = strangers(*world.present.values())
    for number in world.present.keys() & before.keys():
        if world.present[number].epoch == before[number].epoch:
            assert strangers(before[number]) <= after

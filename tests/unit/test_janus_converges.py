"""From any observation, with Janus and etcd behaving, the plan converges (I5, I14)."""

from dataclasses import dataclass, field, replace

from hypothesis import given
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
    stream_ids: list[int] = field(default_factory=lambda: list(range(1_000, 2_000)))

    def facts(self) -> Facts:
        live = self.live
        on_air = live is not None and live.status is Desired.ONAIR and live.janus_id == J1
        wanted = live.janus_epoch if live and on_air and live.janus_epoch in self.held else None
        held = tuple(Held(n, epoch, n + 1) for n, epoch in enumerate(self.held))
        assigned = Assigned(ROOM, held, live, 1, wanted, None)
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
            made = Forwarder(self.stream_ids.pop(), action.host, action.port, action.ssrc)
            rest.append(made)
        self._keep(action.number, rest)
        self.trouble = None

    def _there(self, number: int) -> tuple[Forwarder, ...]:
        return self.present[number].forwarders

    def _keep(self, number: int, forwarders: list[Forwarder]) -> None:
        self.present[number] = replace(self.present[number], forwarders=tuple(forwarders))


epochs = st.integers(1, 4).map(Epoch)
ports = st.sampled_from([30_000, 30_002, 70_000])
hosts = st.sampled_from(["127.0.0.1", "10.0.0.2", "m1.example"])
ssrcs = st.one_of(epochs.map(lambda e: forwarder_ssrc(ROOM, e)), st.just(STRANGER_SSRC))
numbers = st.integers(100_000, 100_003)
endpoints = st.builds(Endpoints, ws=st.sampled_from(["ws://j1", "ws://old"]))
modules = st.sampled_from([J1, J2])
previous = st.builds(Previous, mixer_id=modules, epoch=epochs, endpoints=endpoints)
lives = st.builds(
    LiveMeta,
    room_id=st.just(ROOM),
    status=st.sampled_from(Desired),
    janus_id=modules,
    janus_epoch=epochs,
    janus_slot=st.just(0),
    mixer_id=modules,
    mixer_epoch=epochs,
    mixer_slot=st.just(0),
    epoch=epochs,
    nonce=st.just("n"),
    started_at=st.just(""),
    on_air_at=st.none(),
    placed=st.just({}),
    previous=st.none() | previous,
)
observations = st.builds(
    JanusState,
    janus_id=modules,
    janus_room_id=numbers,
    status=st.sampled_from(JanusStatus),
    epoch=epochs,
    endpoints=endpoints,
    mixer_epoch=st.none() | epochs,
    reason=st.none() | st.just("why"),
)
mixers = st.builds(
    MixerState,
    mixer_id=modules,
    ip=hosts,
    port=ports,
    status=st.sampled_from(MixerStatus),
    epoch=epochs,
    endpoints=endpoints,
    reason=st.none(),
)
forwarders = st.lists(
    st.builds(Forwarder, st.integers(1, 99), hosts, ports, ssrcs),
    max_size=4,
    unique_by=lambda f: f.stream_id,
).map(tuple)
rooms = st.lists(
    st.builds(Present, numbers, epochs, forwarders), max_size=4, unique_by=lambda p: p.number
).map(lambda found: {p.number: p for p in found})
worlds = st.builds(
    World,
    held=st.lists(epochs, max_size=3, unique=True),
    live=st.none() | lives,
    observed=st.none() | observations,
    mixer=st.none() | mixers,
    present=rooms,
    orphans=st.frozensets(epochs),
    trouble=st.none() | st.just("no socket"),
)


def settle(world: World) -> None:
    for _ in range(ROUNDS):
        actions = plan(world.facts(), ME)
        if not actions:
            return
        for action in actions:
            world.act(action)
    raise AssertionError(f"not settled: {actions}")


def strangers(world: World) -> set[Forwarder]:
    there = [f for p in world.present.values() for f in p.forwarders]
    return {f for f in there if not is_our_ssrc(ROOM, f.ssrc)}


@given(worlds)
def test_it_converges_and_then_does_nothing(world: World) -> None:
    settle(world)
    assert plan(world.facts(), ME) == []
    assert set(world.held) <= {world.facts().assigned.wanted}


@given(worlds)
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


@given(worlds)
def test_what_is_not_wanted_and_not_unknown_is_gone(world: World) -> None:
    first = world.facts()
    settle(world)
    left = {p.epoch for p in world.present.values()} - {first.assigned.wanted}
    assert left.isdisjoint(h.epoch for h in first.assigned.held)
    if first.assigned.live is None:
        assert left.isdisjoint(first.orphans)


@given(worlds)
def test_strangers_forwarders_live_as_long_as_their_room(world: World) -> None:
    before = {
        number: strangers(replace(world, present={number: p}))
        for number, p in world.present.items()
    }
    settle(world)
    after = strangers(world)
    for number in world.present.keys() & before.keys():
        assert before[number] <= after

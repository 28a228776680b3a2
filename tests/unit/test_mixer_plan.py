"""One room's FFmpeg, decided: by table, and from any observation (I5, I14)."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.api import Running
from mixer.health import Health
from mixer.plan import (
    Action,
    Facts,
    ForgetKey,
    RemoveFolder,
    Report,
    Self,
    StartMix,
    StopMix,
    Withdraw,
    plan,
)
from pkg.assignments import Assigned, Held
from pkg.model import Desired, Endpoints, Epoch, LiveMeta, MixerState, MixerStatus, ModuleId, RoomId

BLUE, M1, M2 = RoomId("blue"), ModuleId("m1"), ModuleId("m2")
ME = Self(M1, "127.0.0.1", Endpoints(origin="http://m1"))
WELL, ILL = Health(MixerStatus.PUBLISHING), Health(MixerStatus.FAILING, "disk full")
E5, E7 = Epoch(5), Epoch(7)


def wish(epoch: int, status: Desired = Desired.ONAIR, mixer: ModuleId = M1) -> LiveMeta:
    return LiveMeta(
        room_id=BLUE,
        status=status,
        janus_id=ModuleId("j1"),
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=mixer,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce="n",
        started_at="",
    )


def assigned(live: LiveMeta | None, *held: Epoch) -> Assigned:
    """As pkg.assignments concludes it."""
    mine = live is not None and live.mixer_id == M1
    epoch = live.mixer_epoch if live and mine else None
    wanted = epoch if live and live.status is Desired.ONAIR and epoch in held else None
    keep = epoch if live and live.status is Desired.STOPPING else None
    places = tuple(Held(n, e, n + 1) for n, e in enumerate(held))
    return Assigned(BLUE, places, live, 1, wanted, keep)


def process(epoch: Epoch, port: int = 30_000, pid: int = 1) -> Running:
    return Running(BLUE, epoch, port, pid, pid * 10)


def state(
    epoch: Epoch, port: int = 30_000, status: MixerStatus = MixerStatus.PUBLISHING
) -> MixerState:
    return MixerState(
        mixer_id=M1, ip=ME.ip, port=port, status=status, epoch=epoch, endpoints=ME.endpoints
    )


def facts(live: LiveMeta | None, *held: Epoch, **rest: object) -> Facts:
    base = Facts(
        assigned=assigned(live, *held),
        running=(),
        folders=frozenset(),
        ended=frozenset(),
        observed=None,
        health=None,
        may_spawn=True,
        lost=False,
    )
    return replace(base, **rest)  # type: ignore[arg-type]


P5, P7 = process(E5), process(E7, 30_002, 2)
STOPPING, REMOVING = wish(5, Desired.STOPPING), wish(5, Desired.REMOVING)
HERE = frozenset({E5})


@pytest.mark.parametrize(
    ("seen", "actions"),
    [
        pytest.param(facts(wish(5), E5), [StartMix(E5, None)], id="start"),
        pytest.param(facts(wish(5), E5, may_spawn=False), [], id="not before its backoff is over"),
        pytest.param(
            facts(wish(5), E5, observed=state(E5, 30_004), health=WELL, may_spawn=False),
            [],
            id="nothing to say while waiting",
        ),
        pytest.param(
            facts(wish(5), E5, observed=state(E5, 30_004)), [StartMix(E5, 30_004)], id="same port"
        ),
        pytest.param(
            facts(wish(5), E5, observed=state(E5, 0)), [StartMix(E5, None)], id="it had no port"
        ),
        pytest.param(
            facts(wish(7), E7, observed=state(E5, 30_004)), [StartMix(E7, None)], id="old report"
        ),
        pytest.param(
            facts(wish(5), E5, running=(P5,), health=WELL), [Report(state(E5))], id="report"
        ),
        pytest.param(
            facts(wish(5), E5, running=(P5,), health=WELL, observed=state(E5)), [], id="as it is"
        ),
        pytest.param(
            facts(wish(5), E5, running=(P5,), health=ILL), [StopMix(P5, "disk full")], id="failing"
        ),
        pytest.param(
            facts(STOPPING, E5, running=(P5,), folders=HERE), [StopMix(P5)], id="stop: process"
        ),
        pytest.param(
            facts(STOPPING, E5, folders=HERE),
            [ForgetKey(E5), Withdraw(HERE)],
            id="stop: the folder stays",
        ),
        pytest.param(
            facts(REMOVING, E5, folders=HERE),
            [RemoveFolder(E5), Withdraw(HERE)],
            id="remove: at once",
        ),
        pytest.param(facts(None, folders=HERE, ended=HERE), [], id="the after-life"),
        pytest.param(facts(None, folders=HERE), [], id="perhaps an after-life is on its way"),
        pytest.param(
            facts(None, folders=HERE, lost=True), [RemoveFolder(E5)], id="no after-life came"
        ),
        pytest.param(facts(None, running=(P5,), folders=HERE), [], id="an orphan, seen once"),
        pytest.param(facts(None, running=(P5,), lost=True), [StopMix(P5)], id="an orphan, twice"),
        pytest.param(
            facts(wish(7), E5, E7, running=(P5, P7), health=WELL, observed=state(E7, 30_002)),
            [StopMix(P5)],
            id="a newer epoch",
        ),
        pytest.param(
            facts(wish(7, mixer=M2), E5, running=(P5,), folders=HERE), [StopMix(P5)], id="moved"
        ),
        pytest.param(
            facts(wish(7, mixer=M2), E5, folders=HERE),
            [RemoveFolder(E5), Withdraw(HERE)],
            id="moved: all goes",
        ),
        pytest.param(facts(wish(5), running=(P5,), folders=HERE), [], id="no place: not wanted"),
        pytest.param(
            facts(wish(5), E5, running=(P5, process(E5, 30_006, 9)), health=WELL),
            [StopMix(process(E5, 30_006, 9))],
            id="twins: the elder stays",
        ),
        pytest.param(
            facts(
                wish(5),
                E5,
                running=(P5, process(E5, 30_006, 9)),
                health=WELL,
                observed=state(E5, 30_006),
            ),
            [StopMix(P5)],
            id="twins: the one that Janus feeds stays",
        ),
        pytest.param(
            facts(wish(5), E5, health=ILL, may_spawn=False, observed=state(E5)),
            [
                Report(
                    state(E5, status=MixerStatus.FAILING).model_copy(update={"reason": ILL.reason})
                )
            ],
            id="why it is down, and the port it will come back on",
        ),
    ],
)
def test_by_table(seen: Facts, actions: list[Action]) -> None:
    assert plan(seen, ME) == actions


@dataclass
class World:
    """Etcd and one host, as far as one room goes; healthy processes stay so."""

    live: LiveMeta | None
    held: list[Epoch]
    running: dict[int, Running]
    ill: set[int]
    folders: set[Epoch]
    ended: frozenset[Epoch]
    observed: MixerState | None
    stopped: list[Running] = field(default_factory=list)

    def facts(self) -> Facts:
        share = assigned(self.live, *self.held)
        running = tuple(self.running.values())
        port = self.observed.port if self.observed else None
        mine = [r for r in running if r.epoch == share.wanted]
        current = min(mine, key=lambda r: (r.port != port, r.started, r.pid), default=None)
        health = None if current is None else ILL if current.pid in self.ill else WELL
        folders = frozenset(self.folders)
        return Facts(share, running, folders, self.ended, self.observed, health, True, True)

    def act(self, action: Action) -> None:
        match action:
            case StopMix(running):
                self.stopped.append(self.running.pop(running.pid))
            case StartMix(epoch, port):
                used = {r.port for r in self.running.values()}
                free = next(p for p in range(31_000, 32_000, 2) if p not in used)
                pid = 100 + len(self.stopped)
                self.running[pid] = Running(BLUE, epoch, port or free, pid, pid * 10)
                self.folders.add(epoch)
            case RemoveFolder(epoch):
                assert epoch not in {r.epoch for r in self.running.values()}
                self.folders.discard(epoch)
            case Report(state):
                self.observed = state
            case Withdraw(epochs):
                self.held = [e for e in self.held if e not in epochs]
                if self.observed is not None and self.observed.epoch in epochs:
                    self.observed = None
            case ForgetKey():
                pass


epochs = st.integers(1, 3).map(Epoch)
ports = st.sampled_from([0, 30_000, 30_002])
lives = st.builds(wish, epochs, st.sampled_from(Desired), st.sampled_from([M1, M1, M2]))
processes = st.builds(process, epochs, ports.filter(bool), st.integers(1, 5))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    live = draw(st.none() | lives)
    held = draw(st.sets(epochs, max_size=3))
    if live is not None and draw(st.booleans()):
        held.add(live.mixer_epoch)
    running = {r.pid: r for r in draw(st.lists(processes, max_size=4))}
    return World(
        live=live,
        held=sorted(held),
        running=running,
        ill=draw(st.sets(st.integers(1, 5), max_size=3)),
        folders=draw(st.sets(epochs)) | {r.epoch for r in running.values()},
        ended=frozenset(draw(st.sets(epochs, max_size=1))),
        observed=draw(st.none() | st.builds(state, epochs, ports, st.sampled_from(MixerStatus))),
    )


@settings(max_examples=200)
@given(worlds())
def test_from_any_observation_it_converges_and_then_does_nothing(world: World) -> None:
    first = world.facts()
    wanted, healthy = first.assigned.wanted, first.health == WELL
    for _ in range(8):
        actions = plan(world.facts(), ME)
        if not actions:
            break
        for action in actions:
            world.act(action)
    assert plan(world.facts(), ME) == []
    assert [r.epoch for r in world.running.values()] == ([wanted] if wanted else [])
    assert world.held == ([wanted] if wanted else [])
    kept = world.ended | {first.assigned.keep, wanted}
    assert world.folders <= kept
    if wanted is None:
        return
    assert world.observed == state(wanted, next(iter(world.running.values())).port)
    if healthy:
        assert wanted in {r.epoch for r in world.running.values() if r.pid < 100}

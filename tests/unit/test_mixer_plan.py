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
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    Previous,
    RoomId,
)

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


def replacing(live: LiveMeta, epoch: Epoch, mixer: ModuleId = M1) -> LiveMeta:
    """``live``, while the mixer of ``epoch`` is still fed and served."""
    old = Previous(mixer_id=mixer, epoch=epoch, slot=0, endpoints=Endpoints())
    return live.model_copy(update={"previous": old})


def assigned(live: LiveMeta | None, *held: Epoch) -> Assigned:
    """As pkg.assignments concludes it."""
    places = tuple(Held(n, e, n + 1) for n, e in enumerate(held))
    if live is None:
        return Assigned(BLUE, places, None, 1, None)
    epoch = live.mixer_epoch if live.mixer_id == M1 else None
    old = live.previous.epoch if live.previous and live.previous.mixer_id == M1 else None
    on_air = live.status is Desired.ONAIR
    kept = {epoch, old} - {None} if live.status is Desired.STOPPING else set()
    return Assigned(
        room_id=BLUE,
        held=places,
        live=live,
        live_revision=1,
        wanted=epoch if on_air and epoch in held else None,
        keep=frozenset(e for e in kept if e is not None),
        leaving=old if on_air else None,
    )


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
AWAY = replacing(wish(7, mixer=M2), E5)  # M2 takes over from us, make before break


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
        pytest.param(
            facts(AWAY, E5, running=(P5,), folders=HERE, observed=state(E5)), [], id="leaving"
        ),
        pytest.param(
            facts(AWAY, E5, folders=HERE, observed=state(E5), may_spawn=True),
            [],
            id="leaving: it is not started again",
        ),
        pytest.param(
            facts(AWAY, running=(P5,), folders=HERE, lost=True), [], id="leaving without a place"
        ),
        pytest.param(
            facts(replacing(STOPPING.model_copy(update={"mixer_id": M2}), E5), E5, running=(P5,)),
            [StopMix(P5)],
            id="leaving, and stopped",
        ),
        pytest.param(
            facts(replacing(wish(7, Desired.STOPPING, M2), E5), E5, folders=HERE),
            [ForgetKey(E5), Withdraw(HERE)],
            id="leaving, and stopped: listeners may still need its folder",
        ),
        pytest.param(
            facts(replacing(wish(7, Desired.REMOVING, M2), E5), E5, folders=HERE),
            [RemoveFolder(E5), Withdraw(HERE)],
            id="leaving, and removed",
        ),
        pytest.param(
            facts(replacing(wish(7), E5), E5, E7, running=(P5,), folders=HERE, observed=state(E5)),
            [StartMix(E7, None)],
            id="leaving here for here: on another port",
        ),
        pytest.param(
            facts(wish(7), E7, running=(P5,), folders=HERE, observed=state(E5)),
            [StopMix(P5)],
            id="a new epoch of the same place: the old process",
        ),
        pytest.param(
            facts(wish(7), E7, folders=HERE, observed=state(E5)),
            [StartMix(E7, None)],
            id="a new epoch of the same place: another port, which Janus does not feed yet",
        ),
        pytest.param(
            facts(wish(5), E5, observed=state(E5), health=ILL, failures=3, seams=2),
            [StartMix(E5, 30_000, 3, 2)],
            id="another try says nothing before it is under way",
        ),
        pytest.param(
            facts(wish(5), E5, running=(P5,), health=WELL, observed=state(E5), failures=2),
            [],
            id="old failures are no news while it is well",
        ),
        pytest.param(
            facts(wish(5), E5, running=(P5,), health=WELL, observed=state(E5), seams=1),
            [Report(state(E5).model_copy(update={"seams": 1}))],
            id="a seam is",
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


def _is_possible(live: LiveMeta) -> bool:
    return live.previous is not None and live.previous.epoch < live.mixer_epoch


epochs = st.integers(1, 3).map(Epoch)
modules = st.sampled_from([M1, M1, M2])
ports = st.sampled_from([0, 30_000, 30_002])
lives = st.builds(wish, epochs, st.sampled_from(Desired), modules)
replaced = st.builds(replacing, lives, epochs, modules).filter(_is_possible)
processes = st.builds(process, epochs, ports.filter(bool), st.integers(1, 5))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    live = draw(st.none() | lives | replaced)
    held = draw(st.sets(epochs, max_size=3))
    if live is not None and draw(st.booleans()):
        held.add(live.mixer_epoch)
    if live is not None and live.previous is not None and draw(st.booleans()):
        held.add(live.previous.epoch)
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
    wanted, leaving = first.assigned.wanted, first.assigned.leaving
    healthy = first.health == WELL
    staying = [r for r in world.running.values() if r.epoch == leaving]
    left_held = [e for e in world.held if e == leaving]
    left_folders = {e for e in world.folders if e == leaving}
    for _ in range(8):
        actions = plan(world.facts(), ME)
        if not actions:
            break
        for action in actions:
            world.act(action)
    assert plan(world.facts(), ME) == []
    assert [r for r in world.running.values() if r.epoch == leaving] == staying
    assert [e for e in world.held if e == leaving] == left_held
    assert {e for e in world.folders if e == leaving} == left_folders
    now_wanted = [r for r in world.running.values() if r.epoch != leaving]
    assert [r.epoch for r in now_wanted] == ([wanted] if wanted else [])
    assert set(world.held) - {leaving} == ({wanted} if wanted else set())
    kept = world.ended | first.assigned.keep | {wanted, leaving}
    assert world.folders <= kept
    if wanted is None:
        return
    (mine,) = now_wanted
    assert world.observed == state(wanted, mine.port)
    assert mine.port not in {r.port for r in staying} or healthy
    if healthy:
        assert mine.pid < 100

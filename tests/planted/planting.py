"""What a planted bug is, and what it means that a check catches it.

Production code is replaced in memory, and nowhere else: there is no switch for a bug in it. (Tests
must not patch internals; here the patch is the thing that is tested.) A check is caught by its own
word only: a crash, or an error of the check itself, proves nothing.
"""

import inspect
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest
import trio.testing

from pkg.etcd.memory import MemoryEtcd
from tests.simulation.laws import ViolationError
from tests.simulation.play import play
from tests.simulation.scenarios import Scenario
from tests.support.fake_janus import FakeJanus
from tests.support.janus_stage import J1, Stage

ROOT = Path(__file__).parents[2]
OURS = ("tests", "pkg", "roommanager", "janusmanager", "mixer")
VERDICTS = (AssertionError, TimeoutError, pytest.fail.Exception)


@dataclass(frozen=True)
class Swap:
    """``new`` stands where production has ``owner.name``."""

    owner: Any
    name: str
    new: object

    def __post_init__(self) -> None:
        getattr(self.owner, self.name)  # a patch of what is not there would plant nothing

    @property
    def where(self) -> str:
        outer = "" if inspect.ismodule(self.owner) else f"{self.owner.__module__}."
        return f"{outer}{getattr(self.owner, '__qualname__', self.owner.__name__)}.{self.name}"


@dataclass(frozen=True)
class Check:
    """``run`` returns, or raises what it found. ``name``: where it stands."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True)
class Bug:
    """``breaks``: which invariant of docs/invariants.md, or what else must hold."""

    name: str
    breaks: str
    swaps: tuple[Swap, ...]
    caught_by: tuple[Check, ...]

    def planted(self) -> ExitStack:
        with ExitStack() as stack:
            for swap in self.swaps:
                stack.enter_context(mock.patch.object(swap.owner, swap.name, swap.new))
            return stack.pop_all()


# -- checks ----------------------------------------------------------------------------------


def scenario(
    test: Callable[..., Awaitable[None]], *, life: float = 1500.0, **given: object
) -> Check:
    """A test of the suite, or a scenario like one, in virtual time; with the fixtures it names.

    ``life``: seconds of it, longer than it takes; a bug may keep it from ending.
    """

    async def live() -> None:
        with anyio.fail_after(life):
            await test(**_fixtures(test), **given)

    def run() -> None:
        clock = trio.testing.MockClock(autojump_threshold=0)
        anyio.run(live, backend="trio", backend_options={"clock": clock})

    return Check(_name(test), run)


def plain(test: Callable[[], None]) -> Check:
    return Check(_name(test), test)


def simulation(name: str, scene: Scenario) -> Check:
    """All daemons in the simulation, which judges by its own laws."""

    def run() -> None:
        failure = play(scene).failure
        if failure is not None:
            raise failure

    return Check(f"simulation: {name}", run)


def _name(test: Callable[..., object]) -> str:
    path = Path(inspect.getfile(test)).relative_to(ROOT / "tests")
    return f"{path}::{test.__name__}"


def _fixtures(test: Callable[..., object]) -> dict[str, object]:
    """Those of test_janus_controller.py and its neighbours."""
    etcd = MemoryEtcd()
    made = {"etcd": etcd, "stage": Stage(etcd), "janus": FakeJanus(J1)}
    return {name: made[name] for name in inspect.signature(test).parameters if name in made}


# -- what came of a check --------------------------------------------------------------------


def outcome(check: Check) -> BaseException | None:
    """None if all is well; of a group the first error."""
    try:
        check.run()
    except (Exception, BaseExceptionGroup, pytest.fail.Exception) as error:  # noqa: BLE001
        return _first(error)  # whatever it is, ``is_verdict`` judges it
    return None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_verdict(error: BaseException) -> bool:
    """Did a check say so, in its own lines: what must hold does not, or never came to be?"""
    if isinstance(error, ViolationError):
        return True
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [f.relative_to(ROOT).parts[0] for f in files if f.is_relative_to(ROOT)]
    ours = [part for part in ours if part in OURS]
    return isinstance(error, VERDICTS) and ours[-1:] == ["tests"]

"""What can happen: users' calls, faults, and time. Each step is data; ``repr`` replays it.

A fault begins at its step and ends by itself after ``seconds`` (or in the end, when all is
healed). ``apply`` returns at once, but for ``Advance``.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

from pkg.etcd.api import Delete
from pkg.model import Kind, Mark, RoomId
from tests.simulation.ledger import Verb
from tests.simulation.world import World
from tests.support.fake_janus import Mishap


class Step(Protocol):
    async def apply(self, world: World) -> None: ...


@dataclass(frozen=True)
class Advance:
    seconds: float

    async def apply(self, world: World) -> None:
        await anyio.sleep(self.seconds)


@dataclass(frozen=True)
class Ask:
    verb: Verb
    room: str
    via: str

    async def apply(self, world: World) -> None:
        world.ask(self.verb, RoomId(self.room), self.via)


@dataclass(frozen=True)
class SetMark:
    module: str
    mark: Mark

    async def apply(self, world: World) -> None:
        kind = Kind.JANUS if self.module.startswith("j") else Kind.MIXER
        world.reach(f"mark.{kind.value}.{self.mark.value}")
        world.mark(kind, self.module, self.mark)


@dataclass(frozen=True)
class KillDaemon:
    """kill -9; ``seconds`` later it is back."""

    name: str
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach(f"kill.{self.name[0]}")
        world.kill(self.name)
        world.later(self.seconds, lambda: world.boot(self.name))


@dataclass(frozen=True)
class KillHost:
    """A media node with all that runs there."""

    mixer: str
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach("kill.host")
        host = world.hosts[self.mixer]
        host.up = False
        world.kill(self.mixer)
        host.kill_all()
        world.later(self.seconds, lambda: world.raise_host(self.mixer))


@dataclass(frozen=True)
class KillJanusHost:
    """A Janus and its manager together. ``dark``: its address does not even refuse."""

    name: str
    dark: bool
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach(f"kill.janus_host.{'dark' if self.dark else 'refusing'}")
        janus = world.januses[self.name]
        janus.dark = self.dark
        world.kill(self.name)
        janus.set_running(running=False)
        world.later(self.seconds, lambda: self._raise(world))

    def _raise(self, world: World) -> None:
        world.januses[self.name].dark = False
        world.januses[self.name].set_running(running=True)
        world.boot(self.name)


@dataclass(frozen=True)
class Pause:
    """SIGSTOP of a daemon: its tasks do not run while time passes."""

    name: str
    seconds: float

    async def apply(self, world: World) -> None:
        daemon = world.daemons[self.name]
        world.reach(f"pause.{self.name[0]}.{'long' if self.seconds > 10 else 'short'}")
        daemon.fridge.freeze()
        world.later(self.seconds, daemon.fridge.thaw)


@dataclass(frozen=True)
class StopJanus:
    """The Janus itself dies, or is frozen; ``seconds`` later it is back."""

    name: str
    how: Literal["die", "freeze"]
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach(f"janus.{self.how}")
        janus = world.januses[self.name]
        if self.how == "die":
            janus.set_running(running=False)
            world.later(self.seconds, lambda: janus.set_running(running=True))
        else:
            janus.set_frozen(frozen=True)
            world.later(self.seconds, lambda: janus.set_frozen(frozen=False))


@dataclass(frozen=True)
class SlowJanus:
    name: str
    latency: float
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach("janus.slow")
        janus = world.januses[self.name]
        janus.latency = self.latency
        world.later(self.seconds, lambda: setattr(janus, "latency", 0.0))


@dataclass(frozen=True)
class SpoilJanus:
    """The next such request's answer is lost; it was executed, perhaps ``late``, or not."""

    name: str
    request: str
    executed: bool
    late: float

    async def apply(self, world: World) -> None:
        world.reach(f"janus.spoil.{self.request}")
        world.januses[self.name].spoil(self.request, Mishap(self.executed, self.late))


@dataclass(frozen=True)
class HarmFfmpeg:
    """Of the mixer's processes the first one, or (``curse``) every one for ``seconds``."""

    mixer: str
    how: Literal["kill", "stick", "curse"]
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach(f"ffmpeg.{self.how}")
        host = world.hosts[self.mixer]
        alive = host.machine.alive()
        if self.how == "curse":
            host.cursed = True
            world.later(self.seconds, lambda: setattr(host, "cursed", False))
        elif alive and self.how == "kill":
            host.machine.kill(alive[0].running)
        elif alive:
            host.machine.pause(alive[0].running)


@dataclass(frozen=True)
class FillDisk:
    mixer: str
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach("disk.full")
        machine = world.hosts[self.mixer].machine
        machine.disk_full = True
        world.later(self.seconds, lambda: setattr(machine, "disk_full", False))


@dataclass(frozen=True)
class StopEtcd:
    """``pause``: SIGSTOP; after 10 s all leases end at once. ``die``: leases begin anew."""

    how: Literal["pause", "die"]
    seconds: float

    async def apply(self, world: World) -> None:
        long = "long" if self.seconds > 10 else "short"
        world.reach(f"etcd.{self.how}.{long}")
        if self.how == "pause":
            world.cluster.stop()
            world.later(self.seconds, world.cluster.go_on)
        else:
            world.cluster.die()
            world.later(self.seconds, world.cluster.rise)


@dataclass(frozen=True)
class HarmLine:
    """One daemon's way to etcd. ``hole``: for ``seconds`` every packet is dropped."""

    name: str
    how: Literal["hole", "cut", "lose"]
    seconds: float

    async def apply(self, world: World) -> None:
        world.reach(f"line.{self.how}.{self.name[0]}")
        line = world.daemons[self.name].line
        if line is None:
            return
        if self.how == "hole":
            line.close()
            world.later(self.seconds, line.open.set)
        elif self.how == "cut":
            line.cut_watches()
        else:
            line.answers_to_lose = 1 + int(self.seconds) % 3


@dataclass(frozen=True)
class Compact:
    async def apply(self, world: World) -> None:
        world.reach("etcd.compacted")
        world.cluster.forget_history()


@dataclass(frozen=True)
class DeleteSlot:
    """A hostile editor: the ``nth`` slot that is taken anywhere."""

    nth: int

    async def apply(self, world: World) -> None:
        slots = [kv.key for kv in world.cluster.under("/modules/") if "/slots/" in kv.key]
        if slots:
            world.reach("editor.deleted_slot")
            world.cluster.txn([], [Delete(slots[self.nth % len(slots)])], [])

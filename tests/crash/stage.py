"""A stack whose daemons can be told where to die, and are started again when they do."""

import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx

from pkg import keys
from pkg.model import Leader
from tests.support.daemon import Daemon
from tests.support.stack import Stack, until

RESTART_SECONDS = 0.5  # as a supervisor would
ANSWER_SECONDS = 60.0
GIVE_UP_SECONDS = 60.0
READY = {"mark": "ready"}
PASSING = (502, 503, 504)


class Stage:
    """``kind``: of the daemons that are to die now; whichever comes to the point first does."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.kind = ""
        self._daemons: Mapping[str, Sequence[Daemon]] = {
            "room-manager": stack.room_managers,
            "janus-manager": [host.manager for host in stack.janus_hosts],
            "mixer": stack.mixers,
        }
        self._folders = {
            kind: [folder / f"{kind}-{number}" for number in range(len(daemons))]
            for kind, daemons in self._daemons.items()
        }
        self._down: set[Daemon] = set()
        self._ended_pids: set[int] = set()
        self.died_at: float | None = None

    # -- points ------------------------------------------------------------------------------

    def arm(self, kind: str, point: str) -> None:
        self.kind, self.died_at = kind, None
        for folder in self._folders[kind]:
            (folder / "died").unlink(missing_ok=True)
            (folder / "armed").write_text(point)

    def disarm(self) -> None:
        for folder in self._folders[self.kind]:
            (folder / "armed").write_text("")

    def met(self) -> set[str]:
        """Points of the kind, so far."""
        files = [folder / "met" for folder in self._folders[self.kind]]
        return {name for f in files if f.exists() for name in f.read_text().splitlines()}

    def died(self) -> bool:
        return any((folder / "died").exists() for folder in self._folders[self.kind])

    # -- the daemons ---------------------------------------------------------------------------

    async def begin(self) -> None:
        for kind, daemons in self._daemons.items():
            for daemon, folder in zip(daemons, self._folders[kind], strict=True):
                folder.mkdir()
                daemon.through("tests.support.crashing", {"ONAIR_TEST_CRASH": str(folder)})
                daemon.restart()
        await self.stack.ready()

    async def keep(self) -> None:
        """A supervisor, but for what a flow holds down."""
        while True:
            for daemon in (d for daemons in self._daemons.values() for d in daemons):
                if daemon not in self._down and not daemon.is_running():
                    self._note_death()
                    await anyio.sleep(RESTART_SECONDS)
                    daemon.start()
            await anyio.sleep(0.02)

    def _note_death(self) -> None:
        """One death a run: the others go on as they are."""
        if self.kind and self.died():
            self.died_at = anyio.current_time()
            self.disarm()

    def hold_down(self, daemon: Daemon) -> None:
        self._down.add(daemon)

    def let_up(self, daemon: Daemon) -> None:
        self._down.discard(daemon)

    def kill_all(self) -> None:
        """Of the kind; they are started again."""
        self._note_pids()
        for daemon in self._daemons[self.kind]:
            daemon.kill()

    def end_all(self) -> None:
        """As for an upgrade: SIGTERM to those of the kind; they are started again."""
        self._note_pids()
        for daemon in self._daemons[self.kind]:
            os.kill(daemon.pid, signal.SIGTERM)

    async def is_up_again(self) -> bool:
        """Every daemon of the kind has been started again since they were ended."""
        found = self._daemons[self.kind]
        return all(d.is_running() and d.pid not in self._ended_pids for d in found)

    def _note_pids(self) -> None:
        self._ended_pids = {daemon.pid for daemon in self._daemons[self.kind]}

    async def housekeeper(self) -> str | None:
        found = await self.stack.etcd.get(keys.leader("housekeeping"))
        return Leader.decode(found.value).instance_id if found else None

    async def is_house_kept(self) -> bool:
        """A leader that died a moment ago leads until its lease ends, and never resigns."""
        found = await self.stack.etcd.get(keys.leader("housekeeping"))
        running = {d.pid for d in self._daemons["room-manager"] if d.is_running()}
        return found is not None and Leader.decode(found.value).pid in running

    # -- a patient user --------------------------------------------------------------------------

    async def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        """Every call may be repeated: it is, until somebody answers."""
        with anyio.fail_after(ANSWER_SECONDS):
            while True:
                try:
                    answer = await self.stack.http.request(method, f"/api{path}", **options)  # type: ignore[arg-type]
                except httpx.TransportError:
                    await anyio.sleep(0.1)
                    continue
                if answer.status_code not in PASSING:
                    return answer
                await anyio.sleep(0.1)

    async def status(self, room: str) -> str:
        answer = await self.ask("GET", f"/rooms/{room}")
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    async def becomes(self, room: str, status: str) -> None:
        async def there() -> bool:
            return await self.status(room) == status

        await until(there, within=90.0)

    async def put_on_air(self, room: str) -> None:
        await self.ask("POST", "/rooms", json={"roomId": room})
        await self.ask("POST", f"/rooms/{room}/start")
        await self.becomes(room, "onair")

    async def clean_up(self, room: str) -> None:
        """After a failure, so that the tests that follow have a clean stage."""
        with anyio.move_on_after(GIVE_UP_SECONDS, shield=True):
            self._down.clear()
            for host in self.stack.janus_hosts:
                host.janus.restart()
            for mixer in self.stack.mixers:
                await self.ask("PUT", f"/modules/mixer/{mixer.module_id}/mark", json=READY)
            await self.remove(room)
            await self.stack.nothing_remains()

    async def remove(self, room: str) -> None:
        await self.ask("DELETE", f"/rooms/{room}")
        await self.becomes(room, "gone")


@asynccontextmanager
async def stage(stack: Stack, folder: Path) -> AsyncGenerator[Stage]:
    made = Stage(stack, folder)
    await made.begin()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.keep)
        yield made
        tasks.cancel_scope.cancel()

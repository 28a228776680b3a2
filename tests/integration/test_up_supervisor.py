"""The supervisor on real processes: restarts, order, deadlines; nothing survives a stop."""

import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import psutil
import pytest

from cli import leftovers
from cli.supervisor import Part, StartFailedError, Supervisor

pytestmark = pytest.mark.anyio
DEADLINE_SECONDS = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def part(folder: Path, name: str, script: str, **changes: object) -> Part:
    """A shell script as a part; ready once it has written the file ``NAME.ready``."""
    mark = folder / f"{name}.ready"

    async def ready(pid: int) -> str | None:
        return None if mark.exists() and mark.read_text() == f"{pid}\n" else "no file yet"

    made = Part(
        name=name,
        argv=("/bin/sh", "-c", script.replace("READY", f"echo $$ >{mark}")),
        env={"PATH": "/usr/bin:/bin", leftovers.MARK: str(folder)},
        cwd=folder,
        log=folder / f"{name}.log",
        ready=ready,
        stop_seconds=30.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class Scene:
    supervisor: Supervisor
    said: list[tuple[str, str]]
    changes: list[int]

    async def until(self, fact: Callable[[], bool]) -> None:
        with anyio.fail_after(DEADLINE_SECONDS):
            while not fact():
                await anyio.sleep(0.01)


@asynccontextmanager
async def running(*parts: Part, boot_seconds: float = 60.0) -> AsyncIterator[Scene]:
    said: list[tuple[str, str]] = []
    changes: list[int] = []

    async def rank_stopped(rank: int) -> None:
        said.append(("rank", str(rank)))

    watched = Supervisor(
        parts,
        lambda name, words: said.append((name, words)),
        lambda: changes.append(1),
        random.Random(1),
        boot_seconds,
    )
    is_ready = anyio.Event()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched.run, is_ready.set)
            await is_ready.wait()
            yield Scene(watched, said, changes)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await watched.stop(rank_stopped)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_killed_part_comes_back_with_a_new_pid(tmp_path: Path) -> None:
    async with running(part(tmp_path, "a", "READY; exec sleep 60")) as scene:
        first = scene.supervisor.pids["a"]
        psutil.Process(first).kill()
        await scene.until(
            lambda: ("a", f"is back (pid {scene.supervisor.pids['a']})") in scene.said
        )
        assert scene.supervisor.pids["a"] != first
        assert scene.changes == [1]
        assert scene.said[0][1].startswith("died (SIGKILL); starting it again in ")


async def test_a_part_waits_for_what_it_needs(tmp_path: Path) -> None:
    log = tmp_path / "order"
    first = part(tmp_path, "first", f"sleep 0.3; echo first >>{log}; READY; exec sleep 60")
    then = part(tmp_path, "then", f"echo then >>{log}; READY; exec sleep 60", needs=("first",))
    async with running(then, first):
        assert log.read_text().split() == ["first", "then"]


async def test_parts_stop_in_order_and_leave_nothing(tmp_path: Path) -> None:
    log = tmp_path / "order"
    script = "trap 'echo NAME >>LOG; exit 0' TERM; READY; while :; do sleep 0.05; done"
    parts = [
        part(tmp_path, name, script.replace("NAME", name).replace("LOG", str(log)), stop_rank=rank)
        for name, rank in (("last", 2), ("first", 0), ("middle", 1))
    ]
    async with running(*parts) as scene:
        pids = scene.supervisor.pids
    assert log.read_text().split() == ["first", "middle", "last"]
    assert [words for name, words in scene.said if name == "rank"] == ["0", "1", "2"]
    assert not any(alive(pid) for pid in pids.values())


async def test_a_part_deaf_to_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap '' TERM; sleep 60 & echo $! >{child}; READY; while :; do sleep 1; done"
    async with running(part(tmp_path, "deaf", script, stop_seconds=0.2)) as scene:
        pids = [scene.supervisor.pids["deaf"], int(child.read_text())]
    await scene.until(lambda: not any(alive(pid) for pid in pids))


async def test_a_part_that_never_gets_going_ends_the_start_with_its_last_words(
    tmp_path: Path,
) -> None:
    broken = part(tmp_path, "broken", "echo cannot open the pod bay doors; exit 3")
    words = r"(?s)broken died \(exit code 3\).*\| cannot open the pod bay doors"
    other = part(tmp_path, "other", "READY; exec sleep 60")
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartFailedError, match=words), flatten_subgroups=True
    ):
        async with running(broken, other):
            pytest.fail("it cannot have become ready")
    assert leftovers.find(tmp_path) == []


async def test_a_wrong_setting_is_not_tried_again(tmp_path: Path) -> None:
    wrong = part(tmp_path, "wrong", f"echo once >>{tmp_path}/tries; exit 2")
    with pytest.RaisesGroup(pytest.RaisesExc(StartFailedError), flatten_subgroups=True):
        async with running(wrong):
            pytest.fail("it cannot have become ready")
    assert (tmp_path / "tries").read_text() == "once\n"


async def test_a_part_that_is_slow_is_named(tmp_path: Path) -> None:
    slow = part(tmp_path, "slow", "exec sleep 60")
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartFailedError, match="slow no file yet"), flatten_subgroups=True
    ):
        async with running(slow, boot_seconds=0.3):
            pytest.fail("it cannot have become ready")


async def test_leftovers_are_found_by_mark_and_by_ffmpeg_marker_and_ended(tmp_path: Path) -> None:
    def env(**marks: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", **marks}

    sleep = ["sleep", "60"]
    marked = await anyio.open_process(sleep, env=env(**{leftovers.MARK: str(tmp_path)}))
    ffmpeg = await anyio.open_process(sleep, env=env(ONAIR_MIXER="m1", ONAIR_RUN=f"{tmp_path}/run"))
    foreign = await anyio.open_process(sleep, env=env(ONAIR_MIXER="m1", ONAIR_RUN="/elsewhere"))
    try:
        found = leftovers.find(tmp_path)
        assert {process.pid for process in found} == {marked.pid, ffmpeg.pid}
        assert leftovers.find(tmp_path, besides=[marked.pid])[0].pid == ffmpeg.pid
        await leftovers.end(found, grace_seconds=30.0)
        assert leftovers.find(tmp_path) == []
        assert await marked.wait() == await ffmpeg.wait() == -signal.SIGTERM
        assert foreign.returncode is None
    finally:
        foreign.kill()
        await foreign.wait()

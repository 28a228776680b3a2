"""Runs one of our daemons so that it can be told to die right after a named side effect.

``python -m tests.support.crashing mixer``, with a folder in ``ONAIR_TEST_CRASH``. After each
awaited side effect that worked (a write to etcd, a request to Janus, a process or a folder
changed) the point is named: the verb, and who in our code asked for it. Names go to the file
``met``; one that stands in the file ``armed`` is also the last thing the process does: it writes
``died`` and exits like after ``kill -9``. Production code knows nothing of it.
"""

import functools
import json
import os
import runpy
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from janusmanager.driver import JanusDriver
from mixer.driver import FfmpegProcesses
from pkg.etcd.api import DeletePrefix, Get, Op, Put, TxnResult
from pkg.etcd.client import EtcdClient

OURS = ("roommanager", "janusmanager", "mixer", "pkg")
PLUMBING = ("pkg.etcd", "pkg.controller", "pkg.workqueue", "pkg.lifecycle", "pkg.wiring")
NAMED_BY_THEIR_CALLERS = ("_commit", "_commit_assignment", "_move_on", "execute", "_execute")
DEEP = 2
LEAVES = ("meta", "livemeta", "janus", "mixer", "slots", "mark", "heartbeat", "ended", "leader")

Verb = Callable[..., Awaitable[Any]]


class Points:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._met: set[str] = set()

    def meet(self, name: str) -> None:
        if name not in self._met:
            self._met.add(name)
            with (self._folder / "met").open("a") as file:
                file.write(f"{name}\n")
        if name in self._read("armed"):
            (self._folder / "died").write_text(name)
            os._exit(137)

    def _read(self, name: str) -> list[str]:
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []


def callers() -> Iterator[str]:
    """Functions of ours that led here, the nearest first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        name = frame.f_code.co_name
        own = module.partition(".")[0] in OURS and not module.startswith(PLUMBING)
        if own and name not in NAMED_BY_THEIR_CALLERS:
            yield f"{module}.{name}"
        frame = frame.f_back


def name_of(verb: str, given: tuple[Any, ...]) -> str:
    found = [name for name, _ in zip(callers(), range(DEEP), strict=False)]
    changed = f"({'+'.join(sorted(changes(given[1])))})" if verb == "txn" else ""
    return f"{verb}{changed} in {' < '.join(found)}"


def changes(ops: Iterable[Op]) -> set[str]:
    """What a transaction writes, in a few words; numbers and ids are left out.

    >>> live = Put("/rooms/a/livemeta", b'{"status":"onair"}')
    >>> sorted(changes([live, DeletePrefix("/rooms/a/")]))
    ['-room', 'livemeta:onair']
    """
    return {_change(op) for op in ops if not isinstance(op, Get)}


def _change(op: Op) -> str:
    path = op.prefix if isinstance(op, DeletePrefix) else getattr(op, "key", "")
    words = [word for word in path.split("/") if word in LEAVES]
    leaf = words[-1] if words else "room"
    if not isinstance(op, Put):
        return f"-{leaf}"
    status = json.loads(op.value).get("status")
    return f"{leaf}:{status}" if status else leaf


def always(_given: tuple[Any, ...], _result: object) -> bool:
    return True


def wrote(given: tuple[Any, ...], result: object) -> bool:
    """A transaction that changed something."""
    writes = len(given) > 1 and any(not isinstance(op, Get) for op in given[1])
    return isinstance(result, TxnResult) and result.succeeded and writes


def watch(
    points: Points,
    owner: type,
    verb: str,
    is_effect: Callable[[tuple[Any, ...], object], bool] = always,
) -> None:
    real: Verb = getattr(owner, verb)

    @functools.wraps(real)
    async def watched(self: object, *given: Any, **named: Any) -> Any:
        result = await real(self, *given, **named)
        if is_effect(given, result):
            points.meet(name_of(verb, given))
        return result

    setattr(owner, verb, watched)


def install(points: Points) -> None:
    watch(points, EtcdClient, "txn", wrote)
    for verb in ("grant", "revoke"):
        watch(points, EtcdClient, verb)
    for verb in ("create_room", "destroy_room", "forward", "stop_forward"):
        watch(points, JanusDriver, verb)
    for verb in ("spawn", "stop", "remove", "forget_key"):
        watch(points, FfmpegProcesses, verb)


def main() -> None:
    install(Points(Path(os.environ["ONAIR_TEST_CRASH"])))
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

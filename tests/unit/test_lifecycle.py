"""Daemons start in order and stop in reverse, whatever happens in between."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from pkg.health import Readiness
from pkg.lifecycle import Step, background, run_until_signal, serve

pytestmark = pytest.mark.anyio


class Diary:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, name: str, *, takes: float = 0.0, fails: bool = False) -> Step:
        return Step(name, lambda: self._enter(name, takes, fails), "nothing")

    def _enter(self, name: str, takes: float, fails: bool) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def entered() -> AsyncGenerator[None]:
            await anyio.sleep(takes)
            if fails:
                raise RuntimeError(name)
            self.lines.append(f"+{name}")
            try:
                yield
            finally:
                self.lines.append(f"-{name}")

        return entered()


async def test_start_in_order_stop_in_reverse() -> None:
    diary, stop = Diary(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, [diary.step("a", takes=1), diary.step("b"), diary.step("c")], stop)
        await anyio.sleep(5)
        assert diary.lines == ["+a", "+b", "+c"]
        stop.set()
    assert diary.lines == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_a_step_that_fails_to_start_ends_those_before_it() -> None:
    diary = Diary()
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_until_signal([diary.step("a"), diary.step("b", fails=True), diary.step("c")])
    assert caught.group_contains(RuntimeError, match="b")
    assert diary.lines == ["+a", "-a"]


async def test_a_loop_that_fails_later_ends_all() -> None:
    diary = Diary()

    async def fail_later() -> None:
        await anyio.sleep(60)
        raise RuntimeError("late")

    loop = Step("loop", lambda: background(fail_later), "nothing")
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_until_signal([diary.step("a"), loop, diary.step("b")])
    assert caught.group_contains(RuntimeError, match="late")
    assert diary.lines == ["+a", "+b", "-b", "-a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_reverse(number: signal.Signals) -> None:
    diary = Diary()

    async def send() -> None:
        await anyio.sleep(5)
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()

    sender = Step("sender", lambda: background(send), "nothing")
    with anyio.fail_after(60):
        await run_until_signal([diary.step("a"), sender, diary.step("b")])
    assert diary.lines == ["+a", "+b", "-b", "-a"]


async def test_a_signal_during_a_slow_start_ends_the_start() -> None:
    diary = Diary()

    async def send() -> None:
        await anyio.sleep(5)
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

    sender = Step("sender", lambda: background(send), "nothing")
    began = anyio.current_time()
    with anyio.fail_after(600):
        await run_until_signal([diary.step("a"), sender, diary.step("slow", takes=500)])
    assert anyio.current_time() - began < 10
    assert diary.lines == ["+a", "-a"]


async def test_a_loop_is_entered_when_it_is_ready() -> None:
    ready, seen = anyio.Event(), []

    async def run() -> None:
        await anyio.sleep(3)
        ready.set()
        await anyio.sleep_forever()

    async with background(run, ready=ready.wait):
        seen.append(ready.is_set())
    assert seen == [True]


async def test_a_loop_that_fails_before_it_is_ready_does_not_hang_the_start() -> None:
    async def run() -> None:
        raise RuntimeError("no")

    with pytest.raises(BaseExceptionGroup), anyio.fail_after(5):
        async with background(run, ready=anyio.sleep_forever):
            pass


def test_readiness_can_be_lost_again_and_says_why() -> None:
    ready = Readiness("etcd", "cache")
    ready.clear("etcd")
    assert (ready.ok, ready.blockers) == (False, {"cache": "not started"})
    ready.clear("cache")
    assert (ready.ok, ready.blockers) == (True, {})
    ready.block("etcd", "no answer for 5 s")
    assert (ready.ok, ready.blockers) == (False, {"etcd": "no answer for 5 s"})

import random
from itertools import pairwise

import anyio
import pytest

from pkg import controller
from pkg.errors import TerminalError
from pkg.workqueue import WorkQueue

pytestmark = pytest.mark.anyio


async def test_a_key_added_many_times_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    for _ in range(5):
        queue.add("k")
    assert await queue.get() == "k"
    with anyio.move_on_after(10) as scope:
        await queue.get()
    assert scope.cancelled_caught


async def test_a_key_changed_while_processing_runs_once_more_and_never_in_parallel() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    queue.add("k")
    await queue.get()
    queue.add("k")
    with anyio.move_on_after(10) as scope:
        await queue.get()
    assert scope.cancelled_caught
    queue.done("k")
    assert await queue.get() == "k"


async def test_the_earlier_of_two_delays_wins() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    queue.add_after("k", 60)
    queue.add_after("k", 5)
    start = anyio.current_time()
    await queue.get()
    assert anyio.current_time() - start == pytest.approx(5)


async def test_failures_back_off_and_success_resets() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    seen: list[float] = []

    async def reconcile(_key: str) -> float | None:
        seen.append(anyio.current_time())
        if len(seen) in {1, 2, 3, 4, 6}:
            raise RuntimeError("flaky")
        return 10.0

    queue.add("k")
    with anyio.move_on_after(100):
        await controller.run(queue, reconcile, workers=2)
    gaps = [b - a for a, b in pairwise(seen)]
    for gap, ceiling in zip(gaps, [0.05, 0.1, 0.2, 0.4], strict=False):
        assert ceiling / 10 <= gap <= ceiling
    assert gaps[4] == pytest.approx(10)
    assert gaps[5] <= 0.05, "a success must reset the backoff"


async def test_terminal_errors_are_not_retried() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    calls: list[str] = []

    async def reconcile(key: str) -> float | None:
        calls.append(key)
        raise TerminalError("bad spec")

    queue.add("k")
    with anyio.move_on_after(3600):
        await controller.run(queue, reconcile, workers=1)
    assert calls == ["k"]


async def test_result_asks_to_be_seen_again_later() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    seen: list[float] = []

    async def reconcile(_key: str) -> float | None:
        seen.append(anyio.current_time())
        return 30.0

    queue.add("k")
    with anyio.move_on_after(100):
        await controller.run(queue, reconcile, workers=1)
    assert len(seen) == 4


async def test_an_add_fulfils_an_earlier_wish_for_later() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    queue.add_after("k", 5)
    queue.add("k")
    assert await queue.get() == "k"
    queue.done("k")
    with anyio.move_on_after(60) as scope:
        await queue.get()
    assert scope.cancelled_caught, "the key was handed out twice for one wish"


async def test_a_crash_of_one_key_leaves_the_others_running() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    seen: list[str] = []

    async def reconcile(key: str) -> float | None:
        seen.append(key)
        if key == "bad":
            raise ZeroDivisionError
        return None

    for key in ("bad", "good"):
        queue.add(key)
    with anyio.move_on_after(0.01):
        await controller.run(queue, reconcile, workers=1)
    assert seen[:2] == ["bad", "good"]


async def test_a_delay_ends_in_time_whoever_watches_the_clock() -> None:
    """The watchman goes to work, another is cancelled: somebody takes over."""
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    taken: dict[str, float] = {}

    async def work(seconds: float) -> None:
        while True:
            key = await queue.get()
            taken[key] = anyio.current_time()
            await anyio.sleep(seconds)
            queue.done(key)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(work, 3600.0)
        with anyio.move_on_after(1.0):
            async with anyio.create_task_group() as doomed:
                for _ in range(3):
                    doomed.start_soon(work, 0.0)
        began = anyio.current_time()
        queue.add_after("late", 20.0)
        queue.add_after("soon", 10.0)
        await anyio.sleep(5.0)
        queue.add("now")
        await anyio.sleep(30.0)
        tasks.cancel_scope.cancel()
    assert {key: at - began for key, at in taken.items()} == {
        "now": pytest.approx(5.0),
        "soon": pytest.approx(10.0),
        "late": pytest.approx(20.0),
    }


async def test_a_cancelled_watchman_is_replaced() -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    queue.add_after("k", 10.0)
    scopes = [anyio.CancelScope() for _ in range(3)]
    taken: list[float] = []

    async def wait(scope: anyio.CancelScope) -> None:
        with scope:
            await queue.get()
            taken.append(anyio.current_time())

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for scope in scopes:
            tasks.start_soon(wait, scope)
        for scope in scopes[:2]:
            await anyio.sleep(1.0)
            scope.cancel()
        await anyio.sleep(20.0)
        tasks.cancel_scope.cancel()
    assert taken == [pytest.approx(began + 10.0)]

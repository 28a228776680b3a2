"""What an Onair costs on which nothing changes: with no rooms, then with rooms on air.

etcd's own counters say what was written; the kernel says what each process used. Rooms on air
must cost etcd nothing (design.md §2): the difference between the two turns is theirs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import httpx
import psutil

from bench import http
from bench.stack import Stack

# etcd's counters, https://etcd.io/docs/v3.4/metrics/: changes of keys, entries of its log, renewals
KEYS = "etcd_debugging_mvcc_put_total"
DELETES = "etcd_debugging_mvcc_delete_total"
ENTRIES = "etcd_server_proposals_committed_total"
RENEWALS = 'grpc_server_msg_received_total{grpc_method="LeaseKeepAlive"'
SETTLE_SECONDS = 12.0  # last reports of the rooms that came on air, and a sweep


@dataclass(frozen=True, slots=True)
class Turn:
    """Of so many ``seconds``. Per second: keys changed, entries of etcd's log, renewals of leases;
    CPU of each part in seconds a second (FFmpegs together as ``ffmpeg``)."""

    rooms: int
    seconds: float
    keys: float
    entries: float
    renewals: float
    cpu: dict[str, float]


async def measure(stack: Stack, rooms: int, seconds: float, told: Callable[[], None]) -> list[Turn]:
    """One turn without rooms, one with ``rooms`` on air."""
    turns = []
    for wanted in (0, rooms):
        async with http.connected(stack.site.api_url, stack.api_key) as caller:
            for number in range(wanted):
                await caller.must("POST", "/api/rooms", f'{{"roomId": "idle-{number}"}}')
                await caller.must("POST", f"/api/rooms/idle-{number}/start?wait=30")
        await anyio.sleep(SETTLE_SECONDS)
        turns.append(await _turn(stack, wanted, seconds))
        told()
    return turns


async def _turn(stack: Stack, rooms: int, seconds: float) -> Turn:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def counters() -> str:
            return (await client.get(f"{stack.site.etcd_url}/metrics")).text

        before, used, began = await counters(), cpu(stack), anyio.current_time()
        await anyio.sleep(seconds)
        after, use, elapsed = await counters(), cpu(stack), anyio.current_time() - began

    def rate(*names: str) -> float:
        return sum(total(after, n) - total(before, n) for n in names) / elapsed

    return Turn(
        rooms=rooms,
        seconds=elapsed,
        keys=rate(KEYS, DELETES),
        entries=rate(ENTRIES),
        renewals=rate(RENEWALS),
        cpu={name: (use[name] - used.get(name, 0.0)) / elapsed for name in use},
    )


def total(metrics: str, name: str) -> float:
    """The sum over all labels of a metric in Prometheus text format.

    >>> total('# HELP a b\\na 1\\nc{m="x",t="y"} 2\\nc{m="x",t="z"} 3e+00\\n', 'c{m="x"')
    5.0
    """
    lines = re.findall(rf"^{re.escape(name)}\S* (\S+)$", metrics, re.MULTILINE)
    return sum(float(value) for value in lines)


def cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds used so far, by part."""
    used = {name: _seconds(psutil.Process(pid)) for name, pid in stack.pids.items()}
    mixers = [psutil.Process(pid) for name, pid in stack.pids.items() if name.startswith("mixer")]
    children = [child for mixer in mixers for child in mixer.children()]
    return used | {"ffmpeg": sum(_seconds(child) for child in children)}


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system

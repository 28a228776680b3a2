"""TCP ports for servers that bind them a moment later, and may be killed and started again.

Not of the kernel's own range, where every connection and every ``bind`` to port 0 of the machine
takes one, and between those of ``ports`` and of ``up``. A name in the kernel, which ends with the
process, keeps a port from other workers and other runs until it has been bound for long.
"""

import os
import secrets
import socket
from collections import deque
from contextlib import closing

HERE = "127.0.0.1"
FIRST_PORT, PORTS = 10_000, 1_840  # the next is the first of an ``up``
HELD = 64

_held: deque[int] = deque()


def free_port() -> int:
    """One that nobody listens on, nor is about to."""
    start = secrets.randbelow(PORTS)
    for number in range(PORTS):
        port = FIRST_PORT + (start + number) % PORTS
        lock = _lock(port)
        if lock is None:
            continue
        if _is_free(port):
            _hold(lock)
            return port
        os.close(lock)
    raise RuntimeError(f"no port is free from {FIRST_PORT} on")


def free_ports(count: int) -> list[int]:
    """All different."""
    return [free_port() for _ in range(count)]


def _lock(port: int) -> int | None:
    """An abstract UNIX socket's descriptor, bare: held to the end, it must not warn of that."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0onair-test-port-{port}")
    except OSError:
        name.close()
        return None
    return name.detach()


def _hold(lock: int) -> None:
    _held.append(lock)
    if len(_held) > HELD:
        os.close(_held.popleft())


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no taker
        try:
            probe.bind((HERE, port))
        except OSError:
            return False
        return True

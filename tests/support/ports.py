"""Blocks of ports for tests' stacks, so that any number of them run beside each other.

Below the kernel's own range and below where `up` and the Janus tests take theirs. TCP on a
block's first number is the lock: the kernel frees it, whoever dies.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.support.ffmpeg import HERE

FIRST_PORT, BLOCK, BLOCKS = 4000, 200, 30
TCP_PORTS, MIXER_PORTS, JANUS_PORTS = 10, 140, 40


@contextmanager
def port_block() -> Iterator[int]:
    """The first of ``BLOCK`` ports that nobody else has while the body runs."""
    start = secrets.randbelow(BLOCKS)
    for n in range(BLOCKS):
        first = FIRST_PORT + BLOCK * ((start + n) % BLOCKS)
        with closing(socket.socket()) as lock:
            if not _bind(lock, first):
                continue
            if all(_is_free(port) for port in range(first + 1, first + TCP_PORTS)):
                yield first
                return
    raise RuntimeError(f"no block of {BLOCK} ports is free from {FIRST_PORT} on")


def _bind(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((HERE, port))
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bind(probe, port)

"""RTP lost on its way to one process, without a packet filter or root: its socket hears nothing.

The process's own socket is borrowed (pidfd_getfd(2)) and gets a filter (socket(7)) that lets no
packet in. It ends with the process, so that nothing can be left behind, whatever dies. Whoever
may trace the process (its ancestor or root) may do so.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil

PIDFD_GETFD = 438  # the same number on every architecture
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET: keep 0 bytes of any packet


@contextmanager
def deafened(pid: int, port: int) -> Iterator[None]:
    """What is sent to the process's UDP port is lost while the body runs."""
    with closing(_borrowed(pid, _descriptor(pid, port))) as sock:
        program = ctypes.create_string_buffer(RETURN_NOTHING)
        head = struct.pack("HP", 1, ctypes.addressof(program))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
        try:
            yield
        finally:
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def _descriptor(pid: int, port: int) -> int:
    found = psutil.Process(pid).net_connections("udp")
    return next(sock.fd for sock in found if sock.laddr.port == port)


def _borrowed(pid: int, descriptor: int) -> socket.socket:
    pidfd = os.pidfd_open(pid)
    try:
        own = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, descriptor, 0)
    finally:
        os.close(pidfd)
    if own < 0:
        raise OSError(ctypes.get_errno(), f"cannot borrow descriptor {descriptor} of {pid}")
    return socket.socket(fileno=own)

"""Listeners' PINs: stored hashed, compared in constant time, tried five times a minute at most.

Hash: scrypt (RFC 7914) with a salt of its own; text form ``scrypt$salt$hash``, both hex.

>>> stored = hash_pin("1234", b"0" * 16)
>>> matches("1234", stored), matches("1235", stored), matches("", stored)
(True, False, False)
"""

import hashlib
import hmac
import ipaddress
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from pkg.informer import UndecodableError

A = TypeVar("A")
R = TypeVar("R")

TRIES = 5
WINDOW_SECONDS = 60.0
MAX_CALLERS = 10_000
HASHERS = 2
_COST = {"n": 2**12, "r": 8, "p": 1}


def hash_pin(pin: str, salt: bytes) -> str:
    digest = hashlib.scrypt(pin.encode(), salt=salt, dklen=32, n=_COST["n"], r=_COST["r"], p=1)
    return f"scrypt${salt.hex()}${digest.hex()}"


def matches(pin: str, stored: str) -> bool:
    """Raises UndecodableError if what is stored is no hash of ours."""
    found = re.fullmatch(r"scrypt\$([0-9a-f]{32})\$[0-9a-f]{64}", stored)
    if found is None:
        raise UndecodableError("the room's pinHash is none; delete the room and make it anew")
    return hmac.compare_digest(hash_pin(pin, bytes.fromhex(found[1])), stored)


def mark(stored: str | None) -> str:
    """Names a PIN in the tokens given for it, and tells nothing of it: the salt is not public.

    A token given for a room without a PIN opens nothing once there is one.

    >>> mark(None), len(mark(hash_pin("1234", b"0" * 16)))
    ('', 16)
    """
    return hashlib.sha256(stored.encode()).hexdigest()[:16] if stored is not None else ""


def caller(room_id: str, address: str) -> str:
    """Who is guessing. One subscriber has a whole /64 of IPv6: it counts as one.

    >>> caller("blue", "10.0.0.1"), caller("blue", "2001:db8::1:2"), caller("blue", "unknown")
    ('blue 10.0.0.1', 'blue 2001:db8::', 'blue unknown')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"{room_id} {address}"
    if found.version == 4 or found.ipv4_mapped:
        return f"{room_id} {address}"
    return f"{room_id} {ipaddress.ip_address(int(found) >> 64 << 64)}"


class Hashing:
    """Hash off the loop (10 ms each), and so few at once that guessing starves nobody else."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(HASHERS)

    async def run(self, call: Callable[[str, A], R], pin: str, other: A) -> R:
        return await anyio.to_thread.run_sync(call, pin, other, limiter=self._limiter)


class Tries:
    """Counts wrong PINs per room and address in this process; memory is bounded.

    >>> tries = Tries()
    >>> for _ in range(5): tries.note("blue 10.0.0.1", now=0.0)
    >>> tries.wait_seconds("blue 10.0.0.1", now=1.0), tries.wait_seconds("blue 10.0.0.2", now=1.0)
    (59.0, 0.0)
    >>> tries.wait_seconds("blue 10.0.0.1", now=60.0)
    0.0
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, caller: str, now: float) -> None:
        times = self._seen.setdefault(caller, deque(maxlen=TRIES))
        times.append(now)
        self._seen.move_to_end(caller)
        while len(self._seen) > MAX_CALLERS:
            self._seen.popitem(last=False)

    def take_back(self, caller: str) -> None:
        """The try noted last was the right PIN."""
        times = self._seen.get(caller)
        if times:
            times.pop()

    def wait_seconds(self, caller: str, now: float) -> float:
        """How long until the caller may try again; 0 if it may now."""
        times = self._seen.get(caller)
        if times is None or len(times) < TRIES:
            return 0.0
        return max(0.0, times[0] + WINDOW_SECONDS - now)

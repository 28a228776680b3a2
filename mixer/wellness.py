"""Is this media node fit for more rooms, and for those it has? Looked at before each heartbeat."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pkg.heartbeat import Wellness, worst

MIB = 2**20
ROOMY_BYTES = 200 * MIB  # with less it takes no new room
LAST_BYTES = 20 * MIB  # with less FFmpeg soon writes empty files: its rooms should go elsewhere
ROOMY_INODES = 1000
YEAR_2025 = 1_735_689_600.0  # a clock before it was never set


@dataclass(frozen=True, slots=True)
class Space:
    """What is left in a folder that FFmpeg needs; ``trouble``: why nothing can be written there."""

    folder: str
    trouble: str | None = None
    free_bytes: int = ROOMY_BYTES
    free_inodes: int = ROOMY_INODES


@dataclass(frozen=True, slots=True)
class Signs:
    """``ffmpeg``: why it cannot be used. ``clock``: seconds since 1970."""

    spaces: tuple[Space, ...]
    ffmpeg: str | None
    port_free: bool
    clock: float


def judge(signs: Signs) -> Wellness:
    """
    >>> judge(Signs((Space("/media", free_bytes=30 * MIB),), None, True, YEAR_2025))
    Wellness(status='busy', reason='/media has less than 200 MiB free')
    """
    return worst(*(_judge_space(space) for space in signs.spaces), *_limits(signs))


def _judge_space(space: Space) -> Wellness:
    folder = space.folder
    if space.trouble is not None:
        return Wellness("unhealthy", space.trouble)
    if space.free_bytes < LAST_BYTES:
        return Wellness("unhealthy", f"{folder} has less than {LAST_BYTES // MIB} MiB free")
    if space.free_bytes < ROOMY_BYTES:
        return Wellness("busy", f"{folder} has less than {ROOMY_BYTES // MIB} MiB free")
    if space.free_inodes < ROOMY_INODES:
        return Wellness("busy", f"{folder} has less than {ROOMY_INODES} inodes free")
    return Wellness("healthy")


def _limits(signs: Signs) -> Iterable[Wellness]:
    """What keeps new rooms away, and does no harm to those that are here."""
    if signs.ffmpeg is not None:
        yield Wellness("busy", signs.ffmpeg)
    if not signs.port_free:
        yield Wellness("busy", "no RTP port pair is free: allow more (ONAIR_MIXER_RTP_PORTS)")
    if signs.clock < YEAR_2025:
        yield Wellness("busy", "the clock is not set: segments would carry a wrong date")


def measure(folder: Path) -> Space:
    """Blocks for a moment."""
    try:
        space = os.statvfs(folder)
    except OSError as error:
        return Space(str(folder), f"{folder}: {error.strerror}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Space(str(folder), f"{folder} cannot be written")
    inodes = space.f_favail if space.f_files else ROOMY_INODES  # some file systems do not count
    return Space(str(folder), None, space.f_bavail * space.f_frsize, inodes)

"""The Debian programs Onair runs: where they are, which version, what to do about it."""

import re
import shutil
import subprocess
from typing import TypeAlias

from pkg.errors import ConfigError

Version: TypeAlias = tuple[int, ...]

PACKAGES = {"etcd": "etcd-server", "janus": "janus", "ffmpeg": "ffmpeg"}
# janus has no flag of its own for it, but prints it before its help
VERSION_ARGV = {"etcd": "--version", "janus": "--help", "ffmpeg": "-version"}
OLDEST_ETCD = (3, 4, 11)  # the first 3.4 with --experimental-watch-progress-notify-interval
OLDEST_JANUS = (1, 0, 0)
OLDEST_FFMPEG = (5, 0)
SECONDS = 10.0


def path_of(program: str) -> str:
    """Raises ConfigError with the command that installs it."""
    path = shutil.which(program)
    if path is None:
        raise ConfigError(
            f"{program} is not installed: sudo apt-get install --no-install-recommends "
            f"{PACKAGES[program]} (./onair up without --no-install does it)"
        )
    return path


def version_of(program: str) -> Version:
    """Raises ConfigError if it is missing, or does not say."""
    text = output([path_of(program), VERSION_ARGV[program]])
    version = find_version(text)
    if not version:
        raise ConfigError(
            f"{program} does not tell its version; is {path_of(program)} the real one?"
        )
    return version


def output(argv: list[str]) -> str:
    """stdout and stderr of a short command; empty if it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def find_version(text: str) -> Version:
    """The first dotted number.

    >>> find_version("etcd Version: 3.4.23"), find_version("Janus version: 1102 (1.1.2)")
    ((3, 4, 23), (1, 1, 2))
    >>> find_version("ffmpeg version 5.1.9-0+deb12u1 Copyright"), find_version("n/a")
    ((5, 1, 9), ())
    """
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(n) for n in match[0].split(".")) if match else ()


def dotted(version: Version) -> str:
    return ".".join(str(n) for n in version)

"""``./onair doctor``: is each part here, new enough, and well? What is wrong gets its mending."""

import platform
import shutil
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter

import httpx
from rich.table import Table
from rich.text import Text

from cli import endpoints, ports, programs
from cli.programs import Version, dotted, find_version
from cli.statedir import StateDir
from pkg.errors import ConfigError

TIMEOUT_SECONDS = 3.0
LATENCY_SAMPLES = 9
LATENCY_WARN_SECONDS = 0.05  # heartbeats and starts suffer above it
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 1024**3, 200 * 1024**2


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    says: str
    mend: str = ""


def ok(says: str) -> Finding:
    return Finding(Level.OK, says)


def examine(state: StateDir, base: int) -> Iterator[tuple[str, Finding]]:
    """All checks, in the order of what stands on what."""
    live = running(state)
    yield "python", python()
    yield "uv", uv()
    yield "etcd", etcd()
    yield "janus", janus()
    yield "ffmpeg", ffmpeg()
    yield "disk", disk(state.path)
    yield "clock", clock()
    if live is None:
        yield "up", ok(f"not running on {state.path}")
        yield "ports", free_ports(base)
        return
    yield "up", api(live)
    yield "etcd latency", etcd_latency(str(live["etcd"]))
    yield "janus admin", janus_admin(str(live["janusAdmin"]), state)


def running(state: StateDir) -> dict[str, object] | None:
    try:
        return endpoints.read(state.endpoints)
    except ConfigError:
        return None


def python() -> Finding:
    return ok(f"{platform.python_version()} ({sys.executable})")


def uv() -> Finding:
    path = shutil.which("uv") or str(Path(sys.prefix).parent / ".onair-tools" / "bin" / "uv")
    version = find_version(programs.output([path, "--version"]))
    if not version:
        return ok("not installed; ./onair gets it by itself when it is needed")
    return ok(dotted(version))


def etcd() -> Finding:
    try:
        return judge_etcd(programs.version_of("etcd"))
    except ConfigError as error:
        return Finding(Level.FAIL, "missing", str(error))


def judge_etcd(version: Version) -> Finding:
    """
    >>> judge_etcd((3, 5, 1)).level.value, judge_etcd((3, 4, 23)).level.value
    ('warn', 'ok')
    """
    says = dotted(version)
    if version < programs.OLDEST_ETCD:
        return Finding(Level.FAIL, says, "too old: install 3.4.11 or newer; 3.5.28 or 3.6 is best")
    if (3, 5, 0) <= version <= (3, 5, 2):
        mend = "can become inconsistent when killed under load: install 3.5.28 or newer, or 3.6"
        return Finding(Level.WARN, says, mend)
    return ok(says + ("" if version >= (3, 5) else "; in production 3.5.28 or newer is better"))


def janus() -> Finding:
    try:
        version = programs.version_of("janus")
    except ConfigError as error:
        return Finding(Level.FAIL, "missing", str(error))
    if version < programs.OLDEST_JANUS:
        return Finding(Level.WARN, dotted(version), "tried with 1.1.2: install Janus 1.x")
    return ok(dotted(version))


def ffmpeg() -> Finding:
    try:
        version = programs.version_of("ffmpeg")
    except ConfigError as error:
        return Finding(Level.FAIL, "missing", str(error))
    lacks = missing_features(
        *(
            programs.output(["ffmpeg", "-hide_banner", f"-{what}"])
            for what in ("decoders", "encoders", "muxers", "protocols")
        )
    )
    if lacks:
        mend = "install Debian's ffmpeg, and see that no other comes first in PATH"
        return Finding(Level.FAIL, f"{dotted(version)} without {', '.join(lacks)}", mend)
    if version < programs.OLDEST_FFMPEG:
        return Finding(Level.WARN, dotted(version), "tried with 5.1: install FFmpeg 5 or newer")
    return ok(f"{dotted(version)} with opus, aac, hls, encryption")


def missing_features(decoders: str, encoders: str, muxers: str, protocols: str) -> list[str]:
    """What a mixer needs, against FFmpeg's own lists.

    >>> missing_features(" A....D libopus  x", " A....D aac  x", " E hls  x", "  crypto")
    []
    >>> missing_features("", " A....D aac  x", " E hls  x", "  crypto")
    ['opus']
    """
    wanted = {
        "opus": {"opus", "libopus"} & set(decoders.split()),
        "aac": {"aac"} & set(encoders.split()),
        "hls": {"hls"} & set(muxers.split()),
        "encryption (crypto)": {"crypto"} & set(protocols.split()),
    }
    return [name for name, found in wanted.items() if not found]


def disk(path: Path) -> Finding:
    there = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / 1024**3:.1f} GiB free at {there}"
    if free < DISK_FAIL_BYTES:
        return Finding(Level.FAIL, says, "make room, or choose another --state-dir")
    if free < DISK_WARN_BYTES:
        return Finding(Level.WARN, says, "2 GiB or more is better: segments, etcd's log")
    return ok(says)


def clock() -> Finding:
    """Tokens carry times: the clock must be kept by something."""
    told = programs.output(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if told.strip() == "no":
        return Finding(Level.WARN, "not synchronised", "sudo timedatectl set-ntp true")
    return ok("synchronised" if told.strip() == "yes" else "nothing tells if it is synchronised")


def free_ports(base: int) -> Finding:
    plan = ports.plan(base)
    wanted = range(plan.base, plan.base + ports.TCP_PORTS)
    taken = ports.taken(wanted)
    if taken:
        names = ", ".join(f"{port} by {ports.holder(port)}" for port in taken)
        return Finding(Level.FAIL, f"taken: {names}", "stop those, or up --port-base N")
    return ok(f"TCP {wanted[0]} to {wanted[-1]} are free")


def api(live: dict[str, object]) -> Finding:
    try:
        answer = httpx.get(f"{live['api']}/readyz", timeout=TIMEOUT_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        return Finding(Level.FAIL, str(error), "see the terminal of up, and its logs/")
    if answer.status_code == httpx.codes.OK:
        return ok(f"{live['api']} is ready")
    return Finding(Level.FAIL, f"not ready: {answer.text[:200]}", "see the terminal of up")


def etcd_latency(url: str) -> Finding:
    """Median of a few linearizable reads over the JSON gateway: network and quorum, no fsync."""
    body = {"key": "AA==", "limit": 1}
    taken = []
    try:
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            for _ in range(LATENCY_SAMPLES):
                begun = perf_counter()
                client.post(f"{url}/v3/kv/range", json=body).raise_for_status()
                taken.append(perf_counter() - begun)
    except httpx.HTTPError as error:
        return Finding(Level.FAIL, str(error), "is etcd well? see logs/etcd.log")
    median = statistics.median(taken)
    says = f"{median * 1000:.1f} ms"
    if median > LATENCY_WARN_SECONDS:
        return Finding(Level.WARN, says, "give etcd a faster disk or network")
    return ok(says)


def janus_admin(url: str, state: StateDir) -> Finding:
    try:
        secret = state.secret("janus-admin-secret").read_text().strip()
        body = {"janus": "list_sessions", "transaction": "doctor", "admin_secret": secret}
        answer = httpx.post(url, json=body, timeout=TIMEOUT_SECONDS, trust_env=False).json()
    except (OSError, ValueError, httpx.HTTPError) as error:
        return Finding(Level.FAIL, str(error), "is Janus well? see logs/janus.log")
    if answer.get("janus") == "success":
        return ok(f"{url} answers, {len(answer['sessions'])} sessions")
    mend = f"its admin_secret must be what stands in {state.secret('janus-admin-secret')}"
    return Finding(Level.FAIL, str(answer.get("error")), mend)


def table(findings: list[tuple[str, Finding]]) -> Table:
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    shown = Table("", "CHECK", "FOUND", "TO MEND IT", box=None, pad_edge=False)
    for name, finding in findings:
        level = Text(finding.level.value, colours[finding.level])
        shown.add_row(level, name, finding.says, finding.mend)
    return shown

"""Things beside Onair's that look much like them, and must be left alone (I10)."""

import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.witness import Witness
from tests.support import admin
from tests.support.stack import Stack

ROOM_NUMBERS = (234_567, 234_568)
LIVES_SECONDS = 600


@dataclass(frozen=True)
class Strangers:
    processes: tuple[psutil.Process, ...]
    files: tuple[Path, ...]

    def are_left(self) -> bool:
        running = all(p.is_running() and p.status() != "zombie" for p in self.processes)
        return running and all(file.exists() for file in self.files)


@asynccontextmanager
async def planted(stack: Stack, witness: Witness, room: str) -> AsyncGenerator[Strangers]:
    """``room`` is on air on the stack's first Janus, and gets a forwarder that is not ours."""
    host, mixer = stack.janus_hosts[0], stack.mixers[0]
    texts = ("a stranger's", f"onair/{host.module_id}-2/{room}/7")
    for number, text in zip(ROOM_NUMBERS, texts, strict=True):
        witness.planted.add(await admin.plant_room(stack, host, number, text))
    await admin.plant_forwarder(stack, host, room, 9)
    files = (
        mixer.place.media / "notes" / "letter.ts",
        mixer.place.media / room / "letter.ts",
        mixer.place.run / "notes" / "letter",
    )
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    marks = {"ONAIR_ROOM": room, "ONAIR_EPOCH": "1", "ONAIR_RTP_PORT": "9", "ONAIR_AFTER": "-1"}
    elsewhere = _sleeper({"ONAIR_MIXER": f"{mixer.module_id}-2", **marks})
    shell = {"ONAIR_MIXER": mixer.module_id, "ONAIR_ROOM": "a-shell"}  # of its operator
    unmarked = _sleeper(shell)
    try:
        witness.planted |= {f"process {pid}" for pid in (elsewhere, unmarked)}
        yield Strangers((psutil.Process(elsewhere), psutil.Process(unmarked)), files)
    finally:
        _end(elsewhere, unmarked)


def _sleeper(environment: dict[str, str]) -> int:
    """``returncode``: it is reaped by pid, and no warning is due when the object goes."""
    child = subprocess.Popen(["sleep", str(LIVES_SECONDS)], env=environment)
    child.returncode = 0
    return child.pid


def _end(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

"""The raw chain: what a start costs at least, with etcd, Janus and FFmpeg and no Onair between.

One transaction with the compares and puts of a start; then the AudioBridge room is created while
FFmpeg is spawned (the same argv and environment as the mixer's); one forwarder; two puts. No
queue, no watch, no list, no HTTP.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.to_thread
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.records import Chain
from cli.site import Site
from janusmanager import messages
from janusmanager.api import Marker as RoomMarker
from mixer import files
from mixer.api import Marker, Mix
from mixer.cmdline import argv
from mixer.driver import PATH, available_limits, is_bindable, nudge
from mixer.files import Layout
from pkg.etcd.api import Delete, Etcd, Put, commit
from pkg.janus.wire import write
from pkg.model import Epoch, ModuleId, RoomId

FIRST_PORT, LAST_PORT = 6_000, 10_000  # below every block of `up`
RAW_MODULE = ModuleId("raw")


class RawJanusError(Exception):
    """Janus refused; the text is its reply."""


class RawJanus:
    """One request at a time over one admin WebSocket."""

    def __init__(self, socket: ClientConnection, site: Site) -> None:
        self._socket = socket
        self._secret = site.secret("janus-admin-secret")
        self.key = site.secret("janus-admin-key")

    async def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send(write(messages.plugin(body), "1", {"admin_secret": self._secret}))
        reply: dict[str, Any] = json.loads(await self._socket.recv())
        response: dict[str, Any] = reply.get("response", {})
        if reply.get("janus") != "success" or "error" in response:
            raise RawJanusError(str(reply))
        return response


@asynccontextmanager
async def raw_janus(site: Site) -> AsyncGenerator[RawJanus]:
    protocol = Subprotocol("janus-admin-protocol")
    async with connect(
        site.januses[0].admin_ws, subprotocols=[protocol], compression=None, proxy=None
    ) as socket:
        yield RawJanus(socket, site)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a run needs and that is not part of what is measured."""

    room_id: RoomId
    port: int
    number: int
    line: list[str]
    environ: dict[str, str]
    folder: Path
    chain: Chain


class RawChain:
    def __init__(self, etcd: Etcd, janus: RawJanus, scratch: Path) -> None:
        self._etcd = etcd
        self._janus = janus
        self._layout = Layout(scratch / "media", scratch / "run")
        self._ports = iter(range(FIRST_PORT, LAST_PORT, 2))

    def prepare(self, number: int, chain: Chain) -> Prepared:
        room_id, epoch = RoomId(f"raw-{number}"), Epoch(number + 1)
        port = next(p for p in self._ports if all(is_bindable("127.0.0.1", q) for q in (p, p + 1)))
        mix = Mix(room_id, epoch, port, "0" * 32, bytes(16))
        stream = files.prepare(self._layout, mix, "127.0.0.1", 2.0)
        marker = Marker(RAW_MODULE, room_id, epoch, port, -1)
        return Prepared(
            room_id=room_id,
            port=port,
            number=100_000 + number,
            line=argv("ffmpeg", stream, available_limits()),
            environ={"PATH": PATH, **marker.environment()},
            folder=self._layout.private(room_id, epoch),
            chain=chain,
        )

    async def run(self, prepared: Prepared) -> float:
        """Seconds from the transaction's sending to the second put's answer; then all is undone."""
        process: list[subprocess.Popen[bytes]] = []
        now = perf_counter

        async def spawn() -> None:
            process.append(await anyio.to_thread.run_sync(_spawn, prepared))

        try:
            began = now()
            await commit(self._etcd, prepared.chain.compares, prepared.chain.puts)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(spawn)
                await self._create(prepared)
            await self._forward(prepared)
            for put in prepared.chain.reports:
                await self._etcd.txn([], [put])
            return now() - began
        finally:
            with anyio.CancelScope(shield=True):
                await self._undo(prepared, process)

    async def _create(self, prepared: Prepared) -> None:
        marker = RoomMarker(RAW_MODULE, prepared.room_id, Epoch(1))
        await self._janus.ask(
            messages.creation(self._janus.key, marker, prepared.number, "0" * 32, "s")
        )

    async def _forward(self, prepared: Prepared) -> None:
        await self._janus.ask(
            messages.forwarding(
                self._janus.key, prepared.number, "s", "127.0.0.1", prepared.port, 7
            )
        )

    async def _undo(self, prepared: Prepared, started: list[subprocess.Popen[bytes]]) -> None:
        for process in started:
            process.send_signal(signal.SIGTERM)
            nudge("127.0.0.1", prepared.port)
            await anyio.to_thread.run_sync(_wait_or_kill, process)
        await self._janus.ask(messages.destruction(prepared.number, "s"))
        chain = prepared.chain
        keys = [put.key for put in (*chain.puts, *chain.reports) if isinstance(put, Put)]
        await self._etcd.txn([], [Delete(key) for key in keys])
        shutil.rmtree(prepared.folder, ignore_errors=True)


def _spawn(prepared: Prepared) -> subprocess.Popen[bytes]:
    log = os.open(prepared.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            prepared.line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=prepared.folder,
            env=prepared.environ,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(3.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

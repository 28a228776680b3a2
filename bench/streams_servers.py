"""The servers that `bench streams` compares: ours and the Node reference, each in its own folder.

The reference is installed once, by npm, into a cache folder. All are ended and their folders
deleted with the block that started them.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import psutil

from bench.stack import POLL_SECONDS, START_SECONDS, StackError, end, spawn, tail
from bench.streams_wire import answer, request
from cli.ports import LOOPBACK, taken

PACKAGE = "@durable-streams/server"
VERSION = "0.3.7"
OURS, FILES, MEMORY = "Onair", "reference", "reference, memory"
ALL = (OURS, FILES, MEMORY)
FIRST_PORT, LAST_PORT = 16_000, 20_000  # below the kernel's ephemeral ports
SCRIPT = """\
import { DurableStreamTestServer } from "@durable-streams/server"
const [port, dataDir] = process.argv.slice(2)
const options = { port: Number(port), host: "127.0.0.1" }
const server = new DurableStreamTestServer(dataDir ? { ...options, dataDir } : options)
process.on("SIGTERM", () => process.exit(0))
await server.start()
"""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int

    @property
    def rss(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)


def prepare_reference() -> Path:
    """The folder with the reference's script, installed if it is not yet. Raises StackError."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise StackError("--reference needs node and npm on PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "onair-bench" / f"streams-reference-{VERSION}"
    if not (folder / "node_modules" / PACKAGE).is_dir():
        _install(folder)
    (folder / "serve.mjs").write_text(SCRIPT)
    return folder


def _install(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            [*command, f"{PACKAGE}@{VERSION}"], cwd=folder, check=True, capture_output=True
        )
    except subprocess.CalledProcessError as error:
        raise StackError(f"npm could not install {PACKAGE}: {error.stderr.decode()}") from None


@asynccontextmanager
async def started(name: str, *flags: str) -> AsyncGenerator[Server]:
    """Entered once it answers. Raises StackError."""
    with tempfile.TemporaryDirectory(prefix="onair-bench-", ignore_cleanup_errors=True) as folder:
        said, port = Path(folder) / "said", _free_port()
        process = _spawn(name, Path(folder) / "data", port, said, flags)
        try:
            await _until_answers(process, port, said)
            yield Server(name, port, process.pid)
        finally:
            with anyio.CancelScope(shield=True):
                await end(process)


def _spawn(
    name: str, data: Path, port: int, said: Path, flags: Sequence[str]
) -> "subprocess.Popen[bytes]":
    if name == OURS:
        return spawn(["streams", f"--data-dir={data}", f"--port={port}", *flags], said)
    argv = ["node", str(prepare_reference() / "serve.mjs"), str(port)]
    if name == FILES:
        data.mkdir()
        argv.append(str(data))
    with said.open("ab") as out:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _free_port() -> int:
    for port in range(FIRST_PORT, LAST_PORT):
        if not taken([port]):
            return port
    raise StackError(f"no free port between {FIRST_PORT} and {LAST_PORT} on {LOOPBACK}")


async def _until_answers(process: "subprocess.Popen[bytes]", port: int, said: Path) -> None:
    with anyio.move_on_after(START_SECONDS):
        while process.poll() is None:
            try:
                await answer(port, request("GET", "/v1/stream/none", {}))
            except OSError:
                await anyio.sleep(POLL_SECONDS)
            else:
                return
    raise StackError(f"the server did not start:\n{tail(said)}")

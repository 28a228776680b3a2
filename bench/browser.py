"""A listener in a real browser: hls.js in headless Chromium, watched over the DevTools protocol.

The page is served by us on loopback and plays one room's public address; nothing ever reloads it.
hls.js is not part of Onair's installation yet: its file is given (`npm pack hls.js`, dist/).
"""

import json
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
import websockets
from anyio.abc import Process
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from pkg.errors import ConfigError, OnairError
from pkg.httpserver import listen, serving

SAMPLE_SECONDS = 0.1
START_SECONDS = 30.0
STANDS_SECONDS = 0.5  # at the end, to be called standing still: samples may come late
ADVANCED_SECONDS = 0.01  # of media time between two samples: less is standing still

PAGE = """<!doctype html><meta charset=utf-8><title>listener</title><audio id=a></audio>
<script src=/hls.js></script><script>
window.seen = {fatal: 0, errors: [], loads: performance.now()};
const audio = document.getElementById('a');
const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, e) => {
  seen.errors.push(e.details);
  if (!e.fatal) return;
  seen.fatal += 1;
  if (e.type === Hls.ErrorTypes.NETWORK_ERROR) hls.startLoad(); else hls.recoverMediaError();
});
hls.loadSource(new URLSearchParams(location.search).get('src'));
hls.attachMedia(audio);
hls.on(Hls.Events.MANIFEST_PARSED, () => audio.play());
</script>"""
ASK = """JSON.stringify({time: audio.currentTime, paused: audio.paused, loads: seen.loads,
fatal: seen.fatal, errors: seen.errors.slice(-8)})"""


class BrowserError(OnairError):
    """Chromium did not start, or the page does not play."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``at``: seconds, monotonic; ``time``: the player's currentTime; ``load``: names one load
    of the page, so that a reload shows; ``fatal``: errors hls.js could not mend by itself."""

    at: float
    time: float
    load: float
    fatal: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener went through: standing still (seconds), reloads, errors."""

    longest_stall: float
    stalled: float
    reloads: int
    fatal: int
    advances: bool


def heard(samples: list[Sample]) -> Heard:
    """
    >>> at = [Sample(t, min(t, 3.0), 1.0, 0, ()) for t in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]
    >>> heard(at)
    Heard(longest_stall=2.0, stalled=2.0, reloads=0, fatal=0, advances=False)
    """
    longest = total = still = 0.0
    for before, after in pairwise(samples):
        moved = after.time - before.time > ADVANCED_SECONDS
        still = 0.0 if moved else still + after.at - before.at
        total += 0.0 if moved else after.at - before.at
        longest = max(longest, still)
    loads = {sample.load for sample in samples}
    fatal = max((sample.fatal for sample in samples), default=0)
    return Heard(longest, total, max(0, len(loads) - 1), fatal, advances=still < STANDS_SECONDS)


class Tab:
    """One page of Chromium."""

    def __init__(self, socket: websockets.ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._number = 0

    async def sample(self) -> Sample:
        found = json.loads(await self._evaluate(ASK))
        return Sample(
            anyio.current_time(),
            found["time"],
            found["loads"],
            found["fatal"],
            tuple(found["errors"]),
        )

    async def _evaluate(self, expression: str) -> str:
        given = {"expression": expression, "returnByValue": True}
        answer = await ask(
            self._socket, "Runtime.evaluate", given, session=self._session, number=self.next()
        )
        return str(answer["result"].get("value", "{}"))

    def next(self) -> int:
        self._number += 1
        return 1000 + self._number


async def ask(
    socket: websockets.ClientConnection,
    method: str,
    params: dict[str, Any],
    *,
    number: int,
    session: str | None = None,
) -> dict[str, Any]:
    """One DevTools command; events that come in between are passed over. Raises BrowserError."""
    message = {"id": number, "method": method, "params": params}
    await socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
    while True:
        answer = json.loads(await socket.recv())
        if answer.get("id") == number:
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            result: dict[str, Any] = answer["result"]
            return result


@asynccontextmanager
async def playing(playlist: str, hls_js: Path) -> AsyncGenerator[Tab]:
    """A tab that has begun to play ``playlist``. Raises BrowserError, ConfigError."""
    chromium = which("chromium") or which("chromium-browser")
    if chromium is None:
        raise ConfigError("there is no chromium on PATH: apt-get install chromium")
    if not await anyio.Path(hls_js).is_file():
        raise ConfigError(f"--hls-js {hls_js}: no such file; `npm pack hls.js` has dist/hls.min.js")
    bound = listen("127.0.0.1:0")
    port = bound.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="onair-chromium-", ignore_cleanup_errors=True) as home:
        async with (
            serving(_site(hls_js), bound),
            await anyio.open_process(
                argv(chromium, home), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
            ) as process,
        ):
            try:
                async with websockets.connect(await _address(process), max_size=None) as socket:
                    page = f"http://127.0.0.1:{port}/?src={playlist}"
                    tab = await _open(socket, page)
                    await _until_it_plays(tab)
                    yield tab
            finally:
                process.terminate()


def argv(chromium: str, home: str) -> list[str]:
    return [
        *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio"),
        "--autoplay-policy=no-user-gesture-required",
        "--remote-debugging-port=0",
        f"--user-data-dir={home}",
        "about:blank",
    ]


def _site(hls_js: Path) -> Starlette:
    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def script(_request: Request) -> Response:
        return FileResponse(hls_js, media_type="text/javascript")

    return Starlette(routes=[Route("/", page), Route("/hls.js", script)])


async def _address(process: Process) -> str:
    """Chromium tells it on stderr, once it is up."""
    said = ""
    with anyio.move_on_after(START_SECONDS):
        assert process.stderr is not None  # noqa: S101 - asked for above
        async for chunk in process.stderr:
            said += chunk.decode(errors="replace")
            if found := re.search(r"DevTools listening on (ws://\S+)\n", said):
                return found[1]
    raise BrowserError(f"Chromium did not start: {said[-500:]}")


async def _open(socket: websockets.ClientConnection, page: str) -> Tab:
    command = partial(ask, socket)
    target = await command("Target.createTarget", {"url": page}, number=1)
    wanted = {"targetId": target["targetId"], "flatten": True}
    attached = await command("Target.attachToTarget", wanted, number=2)
    return Tab(socket, attached["sessionId"])


async def _until_it_plays(tab: Tab) -> None:
    last = ""
    with anyio.move_on_after(START_SECONDS):
        while True:
            try:
                sample = await tab.sample()
            except (BrowserError, KeyError) as error:  # the page is not loaded yet
                last = str(error)
            else:
                if sample.time > ADVANCED_SECONDS:
                    return
                last = f"currentTime {sample.time}, {', '.join(sample.errors)}"
            await anyio.sleep(SAMPLE_SECONDS)
    raise BrowserError(f"the page does not play: {last}")


async def watch(tab: Tab, samples: list[Sample]) -> None:
    """Adds to them, until cancelled."""
    while True:
        samples.append(await tab.sample())
        await anyio.sleep(SAMPLE_SECONDS)

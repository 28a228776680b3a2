"""Wiring of the stream server: `./onair streams`, and `check` and `compact` of a folder."""

import gc
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NoReturn

from pkg import log
from pkg.daemon import end, run_daemon
from pkg.errors import ConfigError, OnairError
from pkg.health import Readiness
from pkg.httpserver import Tls, listen, serving
from pkg.lifecycle import Step, background, run_until_signal
from streams.app.access import Access, read_tokens
from streams.app.asgi import StreamsApp
from streams.app.live import Waiting
from streams.app.pages import pages
from streams.config import Config
from streams.server.protocol import direct
from streams.server.routes import Hot
from streams.store import check
from streams.store.store import open_store
from streams.store.upkeep import Upkeep
from streams.subscriptions.service import open_service


async def run(config: Config) -> None:
    bound = listen(f"{config.host}:{config.port}")
    access = Access(config.api_key(), read_tokens(config.read_tokens()))
    async with open_store(config.data_dir) as store:
        _spare_collector()
        waiting = Waiting(config.long_poll_timeout, config.sse_seconds)
        ready = Readiness("server")
        app = StreamsApp(store, waiting, access, pages(store, waiting, ready))
        route = Hot(store, waiting, access, app.bodies)
        url, loopback = _public_url(config, bound), config.webhook_loopback
        workers = await open_service(config.data_dir, store, url, loopback=loopback)
        front = workers.front(app, access, app.bodies)
        upkeep = Upkeep(store, config.checkpoint_seconds)
        tls = _tls(config)

        def serve() -> AbstractAsyncContextManager[object]:
            return serving(front, bound, tls=tls, protocol=direct(route))

        await run_until_signal(
            [
                Step("upkeep", lambda: background(upkeep.run), "a log that grows for ever"),
                Step("workers", lambda: background(workers.run), "wakes nobody would tell of"),
                Step("server", serve, "answers from a store that is not open"),
                Step("readers", lambda: _readers(waiting, ready), "a stop that waits for readers"),
            ]
        )


@asynccontextmanager
async def _readers(waiting: Waiting, ready: Readiness) -> AsyncGenerator[None]:
    """Live readers are sent away before the server closes, to come back elsewhere."""
    ready.clear("server")
    yield
    ready.block("server", "draining")
    waiting.drain()


def _public_url(config: Config, bound: socket.socket) -> str:
    if config.public_url:
        return config.public_url.rstrip("/")
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "http" if config.tls_cert_file is None else "https"
    return f"{scheme}://{host}:{bound.getsockname()[1]}"


def _spare_collector() -> None:
    """What is there now stays: looking through it again and again would stop all for a while.

    Requests leave next to no circles behind, so young objects may be looked through less often.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def _tls(config: Config) -> Tls | None:
    if config.tls_cert_file is None or config.tls_key_file is None:
        return None
    return Tls(config.tls_cert_file, config.tls_key_file)


def _serve() -> None:
    run_daemon(run, Config.load_or_exit(), "streams")


def _offline(verb: str, folders: Sequence[str]) -> NoReturn:
    if len(folders) != 1:
        end(Config.program, [ConfigError(f"usage: onair streams {verb} DIR")])
    verbs = {"check": check.check, "compact": check.compact}
    log.setup("warning", "auto", "streams")
    try:
        report = verbs[verb](Path(folders[0]))
    except OnairError as error:
        end(Config.program, [error])
    sys.stdout.write("".join(f"{line}\n" for line in report.lines))
    raise SystemExit(0 if report.ok else 1)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in {"check", "compact"}:
        _offline(sys.argv[1], sys.argv[2:])
    _serve()


if __name__ == "__main__":
    main()

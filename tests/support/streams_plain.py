"""The stream server without uvloop and httptools, to show that nothing in it leans on either.

Takes the flags of ``python -m streams`` for folder, port and long-poll; not a way to run it.
"""

import asyncio
import sys

import uvicorn

from pkg.health import Readiness
from streams.app.access import Access
from streams.app.asgi import StreamsApp
from streams.app.live import Waiting
from streams.app.pages import pages
from streams.config import Config
from streams.store.store import open_store
from streams.store.upkeep import Upkeep
from streams.subscriptions.service import open_service


async def serve(config: Config) -> None:
    async with open_store(config.data_dir) as store, asyncio.TaskGroup() as tasks:
        waiting, ready = Waiting(config.long_poll_timeout), Readiness()
        app = StreamsApp(store, waiting, Access(), pages(store, waiting, ready))
        url = f"http://127.0.0.1:{config.port}"
        workers = await open_service(config.data_dir, store, url, loopback=config.webhook_loopback)
        telling = tasks.create_task(workers.run())
        front = workers.front(app, Access(), app.bodies)
        upkeep = tasks.create_task(Upkeep(store, 1.0).run())
        plain = uvicorn.Config(
            front,
            port=config.port,
            http="h11",
            loop="asyncio",
            lifespan="off",
            log_level="warning",
            timeout_keep_alive=60,  # uvicorn's 5 s meet a client that uses it again just then
        )
        await uvicorn.Server(plain).serve()
        upkeep.cancel()
        telling.cancel()


if __name__ == "__main__":
    asyncio.run(serve(Config.load(sys.argv[1:])))

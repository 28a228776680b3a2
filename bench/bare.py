"""A bare route on the room manager's own server stack: what one process could do at most.

FastAPI on uvicorn, uvloop and httptools; a route that sends one transaction of a start's size
to etcd and answers. Run as ``python -m bench.bare ETCD_URL PORT``; serves until SIGTERM.
"""

import itertools
import sys

import uvicorn
from fastapi import FastAPI

from bench import records
from pkg.etcd.api import CreatedIs, ModIs, Put, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import Kind, ModuleId, RoomId

NAMESPACE = "bare"


def build(etcd_url: str) -> FastAPI:
    app = FastAPI()
    numbers = itertools.count()
    kept: dict[str, EtcdClient] = {}

    def etcd() -> EtcdClient:
        if not kept:  # made inside the running loop
            kept["client"] = EtcdClient(EtcdOptions([etcd_url], namespace=NAMESPACE))
        return kept["client"]

    template = records.chain(
        (RoomId("0" * 16), 0), {kind: (ModuleId(f"{kind.value}-00"), 0) for kind in Kind}, 0
    )

    compared = [c.key for c in template.compares if isinstance(c, ModIs | CreatedIs)]
    puts = [put for put in template.puts if isinstance(put, Put)]

    @app.post("/start/{room_id}")
    async def start(room_id: str) -> dict[str, str]:
        """Values as they are, keys of their own: the compares hold, the sizes are a start's."""
        own = f"{next(numbers):09d}/{room_id}"
        compares = [CreatedIs(f"{own}{key}", 0) for key in compared]
        await commit(etcd(), compares, [Put(f"{own}{put.key}", put.value) for put in puts])
        return {"roomId": room_id}

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )

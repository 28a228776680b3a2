"""Requests to the control interface of subscriptions, and waiting for what comes of them."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from tests.support.streams_server import Server
from tests.support.webhooks import Receiver

JSON = {"content-type": "application/json"}
S = "/v1/stream/"
SUB = f"{S}__ds/subscriptions/one"
KEYS = f"{S}__ds/jwks.json"


async def subscribed(found: Server, receiver: Receiver, **more: object) -> dict[str, Any]:
    body = {"type": "webhook", "pattern": "events/*", "webhook": {"url": receiver.url}, **more}
    answer = await found.http.put(SUB, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def pulling(found: Server, **more: object) -> None:
    await found.http.put(f"{S}wake", headers=JSON, content=b"[]")
    body = {"type": "pull-wake", "pattern": "events/*", "wake_stream": "wake", **more}
    answer = await found.http.put(SUB, json=body)
    assert answer.status_code == 201, answer.text


async def event(found: Server, path: str = "events/a") -> str:
    """One message more; answers the tail."""
    answer = await found.http.post(S + path, headers=JSON, content=b"1")
    if answer.status_code == 404:
        answer = await found.http.put(S + path, headers=JSON, content=b"1")
    return answer.headers["stream-next-offset"]


async def until(true: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(30):
        while not await true():
            await anyio.sleep(0.02)


async def told(found: Server) -> dict[str, Any]:
    answer = await found.http.get(SUB)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def becomes(found: Server, status: str) -> None:
    async def is_so() -> bool:
        return bool((await told(found))["status"] == status)

    await until(is_so)


async def cursors(found: Server) -> dict[str, str]:
    return {link["path"]: link["acked_offset"] for link in (await told(found))["streams"]}


async def wakes(found: Server) -> list[int]:
    return [one["generation"] for one in (await found.http.get(f"{S}wake")).json()]


async def act(
    found: Server, action: str, token: str = "", **body: object
) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await found.http.post(f"{SUB}/{action}", headers=headers, json=body)
    return answer.status_code, answer.json() if answer.content else {}


def of(wake: dict[str, Any], **more: object) -> dict[str, object]:
    """What a report says of its wake."""
    return {"wake_id": wake["wake_id"], "generation": wake["generation"], **more}


def code(found: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return found[0], found[1]["error"]["code"]


async def failing(found: Server, receiver: Receiver) -> tuple[str, dict[str, Any]]:
    """A receiver that refused once; answers the stream's tail, and what it was told."""
    await subscribed(found, receiver, streams=["named"])
    receiver.status = 500
    tail = await event(found)
    hook = await receiver.came(1)
    await becomes(found, "failed")
    return tail, hook.body

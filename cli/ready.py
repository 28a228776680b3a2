"""Is a part ready? One probe each: None, or in words why not. They never raise and never hang."""

import secrets
from typing import Any

import httpx

from cli.supervisor import Probe

TIMEOUT_SECONDS = 2.0


def etcd(client: httpx.AsyncClient, url: str) -> Probe:
    async def probe(_pid: int) -> str | None:
        answer = await _json(client, "GET", f"{url}/health")
        return None if answer.get("health") in ("true", True) else _why(answer)

    return probe


def janus(client: httpx.AsyncClient, admin_url: str, admin_secret: str) -> Probe:
    """The admin API answers, and to our secret: any request but ``ping`` checks it."""
    body = {
        "janus": "list_sessions",
        "admin_secret": admin_secret,
        "transaction": secrets.token_hex(6),
    }

    async def probe(_pid: int) -> str | None:
        answer = await _json(client, "POST", admin_url, body)
        return None if answer.get("janus") == "success" else _why(answer)

    return probe


def room_manager(client: httpx.AsyncClient, url: str) -> Probe:
    async def probe(_pid: int) -> str | None:
        answer = await _json(client, "GET", f"{url}/readyz")
        return None if answer["status_code"] == 200 else _why(answer)

    return probe


def module(client: httpx.AsyncClient, url: str, api_key: str, kind: str) -> Probe:
    """This very process is in the fleet, as the room manager sees it, and says it is healthy."""
    headers = {"Authorization": f"Bearer {api_key}"}

    async def probe(pid: int) -> str | None:
        answer = await _json(client, "GET", f"{url}/api/modules", headers=headers)
        if answer["status_code"] != 200:
            return _why(answer)
        mine = [m for m in answer["modules"] if m.get("kind") == kind and m.get("pid") == pid]
        if not mine:
            return "has not registered yet"
        return None if mine[0].get("status") == "healthy" else f"says it is {mine[0]['status']}"

    return probe


async def _json(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The answer's object with ``status_code`` added; ``error`` instead where there is none."""
    try:
        answer = await client.request(
            method, url, json=body, headers=headers, timeout=TIMEOUT_SECONDS
        )
        value = answer.json()
    except httpx.HTTPError as error:
        return {"status_code": 0, "error": f"{url}: {str(error) or type(error).__name__}"}
    except ValueError:
        value = {"error": answer.text[:200]}
    if not isinstance(value, dict):
        value = {"error": str(value)[:200]}
    return {**value, "status_code": answer.status_code}


def _why(answer: dict[str, Any]) -> str:
    return f"not ready: {answer.get('error') or answer}"

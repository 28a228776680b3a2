"""Is a part ready? One probe each: None, or in words why not. They never raise and never hang."""

import secrets
from datetime import datetime
from typing import Any

import httpx
import psutil

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


def daemon(client: httpx.AsyncClient, url: str) -> Probe:
    """A room manager or gateway, by its own word."""

    async def probe(_pid: int) -> str | None:
        answer = await _json(client, "GET", f"{url}/readyz")
        return None if answer["status_code"] == 200 else _why(answer)

    return probe


def module(client: httpx.AsyncClient, url: str, api_key: str, kind: str, module_id: str) -> Probe:
    """This very process is in the fleet, as the room manager sees it, and says it is healthy.

    A record older than the process is its predecessor's, whose lease has not run out yet.
    """
    headers = {"Authorization": f"Bearer {api_key}"}

    async def probe(pid: int) -> str | None:
        answer = await _json(client, "GET", f"{url}/api/modules", headers=headers)
        if answer["status_code"] != 200:
            return _why(answer)
        own = (kind, module_id)
        found = next((m for m in answer["modules"] if (m["kind"], m["moduleId"]) == own), None)
        if found is None or not _is_of(pid, found.get("startedAt")):
            return "has not registered yet"
        return None if found["health"] == "healthy" else f"{found['health']}: {found['reason']}"

    return probe


def _is_of(pid: int, started_at: str | None) -> bool:
    """Was the record made by this process? A second is left for clocks that do not agree."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return started_at is not None and datetime.fromisoformat(started_at).timestamp() > born - 1


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

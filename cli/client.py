"""The REST API as the command line uses it: one call each, errors as one clear sentence."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli import endpoints, statedir
from pkg.errors import ConfigError, OnairError

TIMEOUT_SECONDS = 20.0  # a start may have to wait for an earlier stop to end


class RefusedError(OnairError):
    """The API said no; the text is its detail, with the stable code in brackets."""

    def __init__(self, text: str, problem: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Where:
    """How a caller named the API: flags before variables before a state dir's endpoints."""

    api: str | None = None
    api_key: str | None = None
    key_file: Path | None = None
    state_dir: Path | None = None


class Client:
    def __init__(self, url: str, api_key: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"},
            trust_env=False,  # a proxy has no business between us and our own API
        )

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """The answer's JSON. Raises RefusedError or ConfigError (nobody answers there)."""
        answer = self._ask(method, path, body, query)
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise _refusal(answer)

    def location(self, path: str) -> str:
        """Where the API sends us. Raises as ``call`` does."""
        answer = self._ask("GET", path, None, {})
        if answer.has_redirect_location:
            return str(answer.url.join(answer.headers["Location"]))
        raise _refusal(answer)

    def _ask(
        self, method: str, path: str, body: object, query: Mapping[str, str]
    ) -> httpx.Response:
        timeout = TIMEOUT_SECONDS + float(query.get("wait", 0))
        try:
            return self._http.request(method, path, json=body, params=query, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"{self.url} does not answer ({str(error) or type(error).__name__}); "
                "is it up? ./onair doctor tells more"
            ) from None


def connect(where: Where, environ: Mapping[str, str] = os.environ) -> Client:
    """Raises ConfigError saying what to give, if the API or its key is not known."""
    url = where.api or environ.get("ONAIR_API")
    key = _key(where, environ)
    if url and key:
        return Client(url, key)
    path = _state_dir(where, environ) / "endpoints.json"
    if url and (not path.exists() or not same(url, str(endpoints.read(path)["api"]))):
        raise ConfigError(f"no API key for {url}: give --key-file, or set ONAIR_API_KEY")
    found = endpoints.read(path)
    key = key or str(found.get("apiKey", ""))
    return Client(str(found["api"]), key)


def same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")


def _key(where: Where, environ: Mapping[str, str]) -> str | None:
    if where.key_file is not None:
        try:
            return where.key_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"--key-file: {error}") from None
    return where.api_key or environ.get("ONAIR_API_KEY")


def _state_dir(where: Where, environ: Mapping[str, str]) -> Path:
    named = where.state_dir or environ.get("ONAIR_STATE_DIR")
    return Path(named) if named else statedir.DEFAULT


def state_of(where: Where, environ: Mapping[str, str] = os.environ) -> statedir.StateDir:
    """The state dir of the ``up`` that a command talks to."""
    return statedir.StateDir.at(_state_dir(where, environ))


def _refusal(answer: httpx.Response) -> RefusedError:
    problem = _problem(answer)
    return RefusedError(sentence(answer.status_code, problem), problem)


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        value = answer.json()
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def sentence(status: int, problem: Mapping[str, Any]) -> str:
    """An RFC 9457 problem in one line.

    >>> sentence(404, {"title": "Not found", "detail": "no room blue", "code": "room-not-found"})
    'no room blue (room-not-found)'
    >>> sentence(502, {})
    'the API answered 502 without saying why'
    """
    words = problem.get("detail") or problem.get("title")
    if not words:
        return f"the API answered {status} without saying why"
    code = problem.get("code")
    return f"{words} ({code})" if code else str(words)

"""How the command line finds the API, and what it says when it is refused."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from cli import endpoints
from cli.__main__ import app
from cli.client import RefusedError, Where, connect
from pkg.errors import ConfigError

KEY = "k" * 32


class Api(BaseHTTPRequestHandler):
    """Answers what ``answers`` says; remembers what it was asked."""

    answers: ClassVar[dict[str, tuple[int, object]]] = {}
    asked: ClassVar[list[tuple[str, str, object]]] = []

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path, json.loads(body) if body else None))
        status, value = self.answers.get(self.path, (404, {"detail": "no", "code": "nothing"}))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            status, value = 401, {"title": "Unauthorized", "code": "unauthorized"}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[str]:
    Api.answers, Api.asked = {}, []
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _state(folder: Path, api: str) -> Path:
    record = endpoints.Endpoints(api, "", "", "", "", "", KEY, {})
    endpoints.write(folder / "endpoints.json", record)
    return folder


def test_flags_beat_variables_beat_the_state_dir(api: str, tmp_path: Path) -> None:
    state = _state(tmp_path, "http://127.0.0.1:1")
    environ = {"ONAIR_API": "http://127.0.0.1:2", "ONAIR_API_KEY": "other"}
    assert connect(Where(state_dir=state), {}).url == "http://127.0.0.1:1"
    assert connect(Where(state_dir=state), environ).url == "http://127.0.0.1:2"
    assert connect(Where(api=api, state_dir=state), environ).url == api


def test_a_key_is_never_sent_to_another_api_than_its_own(tmp_path: Path) -> None:
    state = _state(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="--key-file"):
        connect(Where(api="http://127.0.0.1:2", state_dir=state), {})


def test_a_refusal_is_one_sentence_with_its_code(api: str, tmp_path: Path) -> None:
    client = connect(Where(state_dir=_state(tmp_path, api)), {})
    with pytest.raises(RefusedError, match=r"^no \(nothing\)$"):
        client.call("GET", "/api/rooms/x")
    with pytest.raises(RefusedError, match=r"^Unauthorized \(unauthorized\)$"):
        connect(Where(api=api, api_key="wrong"), {}).call("GET", "/api/rooms/x")


def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    client = connect(Where(state_dir=_state(tmp_path, "http://127.0.0.1:1")), {})
    with pytest.raises(ConfigError, match="does not answer"):
        client.call("GET", "/api/rooms")


def test_an_api_without_its_key_is_told_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no API key for http://127\.0\.0\.1:2: give --key-file"):
        connect(Where(api="http://127.0.0.1:2", state_dir=tmp_path), {})


def _run(api: str, *args: str) -> str:
    result = CliRunner().invoke(app, [*args, "--api", api, "--api-key", KEY])
    assert result.exit_code == 0, result.output
    return result.output


def test_rooms_are_listed_over_all_pages(api: str) -> None:
    room = {"status": "idle", "epoch": 0, "hasPin": False}
    first = {"rooms": [{"roomId": "a", **room}], "nextCursor": "c"}
    Api.answers["/api/rooms?limit=200"] = (200, first)
    Api.answers["/api/rooms?limit=200&cursor=c"] = (
        200,
        {"rooms": [{"roomId": "b", **room}], "nextCursor": None},
    )
    assert [r["roomId"] for r in json.loads(_run(api, "rooms", "ls", "--json"))["rooms"]] == [
        "a",
        "b",
    ]


def test_explain_leads_with_the_reason(api: str) -> None:
    Api.answers["/api/rooms/a/explain"] = (200, {"reason": "no mixer is healthy", "desired": {}})
    assert _run(api, "rooms", "explain", "a").startswith("no mixer is healthy\n")


def test_an_explanation_is_never_cut(api: str) -> None:
    told = {"reason": "r", "placed": {"janus": "w" * 300}}
    Api.answers["/api/rooms/a/explain"] = (200, told)
    _, _, rest = _run(api, "rooms", "explain", "a").partition("\n")
    assert json.loads(rest) == {"placed": told["placed"]}


def test_drain_marks_the_module_and_refuses_half_a_name(api: str) -> None:
    Api.answers["/api/modules/janus/j1/mark"] = (200, {})
    _run(api, "modules", "drain", "janus/j1", "--deadline", "30")
    body = {"mark": "draining", "deadlineSeconds": 30.0}
    assert Api.asked == [("PUT", "/api/modules/janus/j1/mark", body)]
    result = CliRunner().invoke(app, ["modules", "drain", "j1", "--api", api, "--api-key", KEY])
    assert result.exit_code == 2


def test_token_prints_the_bare_token(api: str) -> None:
    Api.answers["/api/rooms/a/tokens"] = (201, {"token": "x" * 300, "expiresAt": ""})
    out = _run(api, "token", "a", "--user", "u", "--role", "host", "--ttl", "30m")
    assert out == "x" * 300 + "\n"
    assert Api.asked[0][2] == {"userId": "u", "role": "host", "ttlSeconds": 1800}

"""A live show behind a PIN, with a host and a listener: who is refused, and what stays secret."""

import base64
import io
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest

from bench.host import Host
from pkg.etcd.api import Delete
from pkg.secrets import hls_key, host_pin, room_secret, token_key
from tests.security import case_listeners
from tests.security.case_listeners import OTHER, ROOM, OnAir
from tests.security.cases import Case, Note
from tests.security.wire import Answer, Request, ask
from tests.support import stack as stacks
from tests.support.listener import Listener
from tests.support.stack import Stack
from wsgateway.exchange import Enter, Identity, Place
from wsgateway.turn import IceServers

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]
PIN = "Zq7!xyzzy"
ENDED = {401, 404}


@pytest.fixture
async def stack(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> AsyncGenerator[Stack]:
    loud = {"ONAIR_LOG_LEVEL": "debug"}
    async with stacks.running(
        tmp_path, etcd_url, etcd_namespace, gateways=1, settings=loud
    ) as running:
        yield running


@dataclass
class Show:
    stack: Stack
    host: Host
    tokens: list[str]
    found: OnAir
    answers: list[str] = field(default_factory=list)  # of all kinds, as text

    async def secrets(self) -> dict[str, bytes]:
        """All that nobody may find, by name."""
        site, live = self.stack.site, await self.stack.live(ROOM)
        janus = site.machines[0].janus
        found = {
            "HLS key": hls_key(site.master, ROOM, live.nonce),
            "AudioBridge pin": host_pin(site.master, ROOM, live.janus_epoch).encode(),
            "AudioBridge secret": room_secret(site.master, ROOM, live.janus_epoch).encode(),
            "master": site.master,
            "token key": token_key(site.master),
            "API key": site.api_key.encode(),
            "Janus secret": janus.admin_secret.encode(),
            "Janus key": janus.admin_key.encode(),
            "PIN": PIN.encode(),
        }
        for number, token in enumerate(self.tokens):
            found |= {f"token {number}": token.encode()}
            found |= {f"signature {number}": token.rpartition(".")[2].encode()}
        return found

    def pids(self) -> list[int]:
        """Of all processes of ours."""
        found = [daemon.pid for daemon in self.stack.daemons]
        found += [pid for pids in self.stack.ffmpegs().values() for pid in pids]
        return [*found, *(host.janus.pid for host in self.stack.janus_hosts)]


def forms(secret: bytes) -> Iterator[bytes]:
    """As it stands, and as somebody might have written it."""
    yield secret
    yield from (secret.hex().encode(), secret.hex().upper().encode())
    yield from (
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    )
    yield repr(secret)[2:-1].encode()


def leaks(secrets: dict[str, bytes], places: dict[str, bytes]) -> list[str]:
    return [
        f"{name} in {place}"
        for name, secret in secrets.items()
        for place, content in places.items()
        if any(form in content for form in forms(secret))
    ]


async def test_a_live_show_gives_nothing_away(stack: Stack, record_property: Note) -> None:
    show = await begin(stack)
    try:
        cases = await strangers(show)
        await listeners_rights(show)
        show.answers += [a async for a in mistakes(show)]
        secrets, places = await show.secrets(), await everything(show)
        assert leaks(secrets, {"a planted place": b"x" + secrets["HLS key"]}), "it finds"
        assert {p for p in places if not places[p]} <= {"Janus's log"}, "something was looked at"
        assert leaks(secrets, places) == []
    finally:
        await show.host.close()
    await stack.etcd.txn([], [Delete(put.key) for put in case_listeners.revoked()])
    for room in (ROOM, OTHER):
        await stack.call("DELETE", f"/rooms/{room}", 202)
    await stack.nothing_remains()
    for path in show.found.paths.values():
        answer = await stack.public.get(f"{path}token={show.found.token}")
        assert answer.status_code == 404
        assert "public" not in answer.headers.get("cache-control", "")
    record_property("cases", cases)


async def begin(stack: Stack) -> Show:
    """On air, with a host who is heard and a listener who has the key."""
    await stack.create(ROOM, pin=PIN)
    await stack.create(OTHER)
    await stack.start(ROOM)
    body = {"userId": "ann", "role": "host", "grants": ["air", "moderate"]}
    invited = (await stack.call("POST", f"/rooms/{ROOM}/tokens", 201, json=body))["token"]
    host = Host()
    await host.connect(f"{stack.site.gateway_url()}/ws", invited)
    await host.join()
    await host.publish()
    await host.connected()
    granted = (await stack.public.post(f"/api/rooms/{ROOM}/listen", json={"pin": PIN})).json()
    listener = Listener(stack.public, f"{granted['hlsUrl']}?token={granted['token']}")
    segment = (await listener.playing()).segments[-1]
    name = urlsplit(segment.url).path.rpartition("/")[2]
    (nonce,) = parse_qs(urlsplit(segment.key_url).query)["nonce"]
    epoch = int(name.split("_")[1])
    found = OnAir(stack.site.master.decode(), granted["token"], name, epoch, nonce)
    return Show(stack, host, [invited, granted["token"]], found)


# -- who is not let in ----------------------------------------------------------------------


async def strangers(show: Show) -> int:
    """How many cases there were. All of the room manager's, then the origin's."""
    found = show.found
    await show.stack.etcd.txn([], case_listeners.revoked())
    wrong: list[str] = []
    asked = [*case_listeners.refused(found), *case_listeners.absent(found)]
    own = list(case_listeners.origin(found))
    place = show.stack.mixer.place
    ports = (urlsplit(show.stack.site.api_url()).port, urlsplit(place.origin_url).port)
    for port, cases in zip(ports, (asked, own), strict=True):
        for case in cases:
            assert port is not None
            answer = await ask(port, case.request)
            wrong += [f"{case.name}: {fault}" for fault in faults(case, answer)]
            show.answers.append(str(answer))
    assert not wrong, f"{len(wrong)} of {len(asked) + len(own)}:\n" + "\n".join(wrong)
    return len(asked) + len(own)


def faults(case: Case, answer: Answer | None) -> Iterator[str]:
    if answer is None:
        yield "closed without an answer"
        return
    if answer.status not in case.status:
        yield f"{answer.status}, not {sorted(case.status)}"
    if answer.status in ENDED and "public" in answer.headers.get("cache-control", ""):
        yield "others may keep the refusal"
    if "access-control-allow-credentials" in answer.headers:
        yield "pages elsewhere may use cookies"


async def listeners_rights(show: Show) -> None:
    """Whoever has the token gets the key whole, and nobody on the way may keep it."""
    port = urlsplit(show.stack.site.api_url()).port
    assert port is not None
    target = f"{show.found.paths['key']}token={show.found.token}"
    key = hls_key(show.stack.site.master, ROOM, show.found.nonce)
    for headers in ({}, case_listeners.RANGE, {"Origin": "https://evil.example"}):
        answer = await ask(port, Request("GET", target, dict(headers)))
        assert answer is not None
        assert (answer.status, answer.body) == (200, key)
        assert answer.headers["cache-control"] == "private, no-store"
        assert "access-control-allow-credentials" not in answer.headers
    head = await ask(port, Request("HEAD", target))
    assert head is not None
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "16")


# -- what stays secret ----------------------------------------------------------------------


async def mistakes(show: Show) -> AsyncGenerator[str]:
    """What all parts answer to calls that go wrong, and what they tell of themselves."""
    stack, token = show.stack, show.found.token
    for method, path, body in (
        ("POST", f"/rooms/{ROOM}/tokens", {"userId": "/", "role": "host"}),
        ("POST", f"/rooms/{ROOM}/tokens", {"userId": "u", "role": token}),
        ("POST", "/rooms", {"roomId": ROOM, "pin": PIN}),
        ("POST", f"/rooms/{ROOM}/revocations", {"tokenId": token}),
        ("GET", f"/rooms/{ROOM}/explain", None),
        ("GET", f"/rooms/{ROOM}/participants", None),
        ("GET", "/modules", None),
        ("GET", "/rooms", None),
    ):
        yield seen(await stack.http.request(method, f"/api{path}", json=body))
    yield seen(await stack.public.post(f"/api/rooms/{ROOM}/listen", json={"pin": PIN.lower()}))
    yield seen(await stack.public.get("/api/rooms", params={"api_key": stack.site.api_key}))
    gateway = stack.site.gateway_url().replace("ws:", "http:")
    for path in ("/metrics", "/readyz", f"/ws?token={show.tokens[0]}", f"/ws?token={token}"):
        yield seen(await stack.public.get(gateway + path))
    for path in ("/metrics", "/readyz", "/openapi.json", "/pages/config"):
        yield seen(await stack.public.get(path))
    line = show.host.line
    assert line is not None
    for params in ({"pin": "1"}, {"secret": "1"}, {"sdp": "v=0"}):
        try:
            await line.ask("publish", **params)
        except Exception as error:  # noqa: BLE001 - whatever it says
            yield str(error)
    yield str(show.host.events)


def seen(answer: httpx.Response) -> str:
    return answer.text + str(answer.headers)


async def everything(show: Show) -> dict[str, bytes]:
    """All that anybody may see: by place."""
    stack = show.stack
    found = {f"{d.name}'s log": d.log_path.read_bytes() for d in stack.daemons}
    found["Janus's log"] = stack.janus.log_path.read_bytes()
    place = stack.mixer.place
    found |= {f"FFmpeg's {path.name}": path.read_bytes() for path in place.run.glob("*/log")}
    found |= {str(path): path.read_bytes() for path in place.media.rglob("*") if path.is_file()}
    for pid in show.pids():
        process = Path("/proc") / str(pid)
        name = psutil.Process(pid).name()
        found[f"argv of {name} {pid}"] = (process / "cmdline").read_bytes()
        found[f"environ of {name} {pid}"] = (process / "environ").read_bytes()
    found |= {f"etcd {key}": value for key, value in (await stack.keys()).items()}
    found["answers"] = "".join(show.answers).encode()
    out = io.StringIO()
    for thing in objects(show):
        print(repr(thing), str(thing), file=out)
    return {k: v for k, v in found.items() if v} | {"repr": out.getvalue().encode()}


def objects(show: Show) -> Iterator[object]:
    """What might be put into a log line one day."""
    site = show.stack.site
    master, janus = site.master, site.machines[0].janus
    pin, secret = host_pin(master, ROOM, 1), room_secret(master, ROOM, 1)
    place = Place("ws://j", 1, 1, pin, secret)  # type: ignore[arg-type]
    yield from (place, Enter(1, place, "ann", None, muted=False), janus)
    ice = IceServers(["turn:t"], site.api_key.encode())
    yield from (ice, Identity(ROOM, "ann", ice.of("ann", now=1, until=2)), show.host)
    yield from (show.stack.janus.access, show.stack)

"""Everything bad that a gateway may be sent, beside two hosts who talk: they notice nothing."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pkg import keys
from pkg.etcd.api import Etcd
from tests.security import case_tokens, onstage
from tests.security.case_frames import Codes, Talk, request, talks
from tests.security.case_handshakes import handshakes, opening, tokens
from tests.security.cases import Case, Note
from tests.security.wire import Answer, ask
from tests.support.gateway_process import MASTER, SLACK_SECONDS, GatewayProcess, Site, host, token
from tests.support.janus import RealJanus, running

pytestmark = [pytest.mark.etcd, pytest.mark.janus, pytest.mark.anyio, pytest.mark.timeout(300)]
AT_ONCE = 8
SECRETS = (MASTER, onstage.PIN, onstage.SECRET, "Traceback", ".py", "site-packages")
PLAIN = {400, 426}  # as the library answers what is no HTTP, or no WebSocket
LOW, HIGH = 440.0, 1000.0


@pytest.fixture
def janus(tmp_path: Path) -> Iterator[RealJanus]:
    with running(tmp_path / "janus") as real:
        yield real


@pytest.fixture
async def etcd(
    anyio_backend: str, tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> AsyncGenerator[Etcd]:
    async with Site(tmp_path, etcd_url, etcd_namespace).etcd() as client:
        yield client


@pytest.fixture
def gateway(tmp_path: Path, etcd_url: str, etcd_namespace: str) -> Iterator[GatewayProcess]:
    site = Site(tmp_path, etcd_url, etcd_namespace)
    with GatewayProcess(site, "g1", allowed_origins="https://pages.example") as running:
        yield running
        said = running.daemon.log_path.read_text()
        running.daemon.assert_alive()
    assert [word for word in (*SECRETS, token()[:40]) if word in said] == []


@asynccontextmanager
async def undisturbed(
    gateway: GatewayProcess, etcd: Etcd, janus: RealJanus
) -> AsyncGenerator[None]:
    """Two hosts talk meanwhile; afterwards they still do, and nobody else is anywhere."""
    async with (
        onstage.on_air(janus, etcd) as stage,
        onstage.talking(gateway, "ann", LOW) as ann,
        onstage.talking(gateway, "bob", HIGH) as bob,
    ):
        yield
        for one, hertz in ((ann, HIGH), (bob, LOW)):
            assert one.line is not None
            assert await one.line.ask("ping") == "pong"
            assert one.caller is not None
            await one.caller.hears(hertz)
        with anyio.fail_after(SLACK_SECONDS):
            while len(await stage.participants()) > 2:
                await anyio.sleep(0.05)
            while len(left := (await etcd.range(keys.HOSTS)).kvs) > 2:
                await anyio.sleep(0.05)
        assert [kv.key for kv in left] == [keys.host(onstage.BLUE, user) for user in ("ann", "bob")]


# -- handshakes -----------------------------------------------------------------------------


async def test_handshakes(
    gateway: GatewayProcess,
    etcd: Etcd,
    janus: RealJanus,
    record_property: Note,
) -> None:
    found: list[str] = []
    every = list(handshakes(MASTER, token("mallory")))
    async with undisturbed(gateway, etcd, janus):
        await etcd.txn([], case_tokens.revoked(MASTER))
        for case in every:
            answer = await ask(gateway.port, case.request)
            found += [f"{case.name}: {fault}" for fault in handshake_faults(case, answer)]
    record_property("cases", len(every))
    assert not found, f"{len(found)} of {len(every)}:\n" + "\n".join(found)


def handshake_faults(case: Case, answer: Answer | None) -> Iterator[str]:
    if answer is None:
        if 400 not in case.status:
            yield "closed without an answer"
        return
    if answer.status not in case.status:
        yield f"{answer.status}, not {sorted(case.status)}: {answer.body[:120]!r}"
    text = answer.body.decode("utf-8", "replace") + str(answer.headers)
    yield from (f"tells {word!r}" for word in SECRETS if word in text)
    if case.code is not None and answer.status not in PLAIN:
        if answer.headers.get("content-type") != "application/problem+json":
            yield f"content type {answer.headers.get('content-type')}"
        elif answer.document["code"] != case.code:
            yield f"code {answer.document['code']}, not {case.code}"


async def test_no_refusal_of_a_token_tells_why(gateway: GatewayProcess, etcd: Etcd) -> None:
    await etcd.txn([], case_tokens.revoked(MASTER))
    answers = set()
    for bad in tokens(MASTER).values():
        answer = await ask(gateway.port, opening(Authorization=f"Bearer {bad}"))
        assert answer is not None
        answers.add((answer.status, answer.body, str(sorted(answer.headers))))
    assert len(answers) == 1


# -- talks ----------------------------------------------------------------------------------


async def test_talks(
    gateway: GatewayProcess,
    etcd: Etcd,
    janus: RealJanus,
    record_property: Note,
) -> None:
    found: list[str] = []
    every = list(talks())
    turns = anyio.Semaphore(AT_ONCE)

    async def take(number: int, talk: Talk) -> None:
        async with turns:
            try:
                with anyio.fail_after(SLACK_SECONDS):
                    found.extend([f"{talk.name}: {f}" async for f in faults(gateway, number, talk)])
            except TimeoutError:
                found.append(f"{talk.name}: no end")

    async with undisturbed(gateway, etcd, janus), anyio.create_task_group() as tasks:
        for number, talk in enumerate(every):
            tasks.start_soon(take, number, talk)
    record_property("cases", len(every))
    assert not found, f"{len(found)} of {len(every)}:\n" + "\n".join(found)


async def faults(gateway: GatewayProcess, number: int, talk: Talk) -> AsyncGenerator[str]:
    """What is wrong with what came back."""
    user = f"user{number}"
    if talk.raw:
        code = await raw_talk(gateway, user, talk.raw)
        if code != talk.closes:
            yield f"closed with {code}, not {talk.closes}"
        return
    room = onstage.BLUE if talk.joined else "off"
    answers: list[Any] = []
    code = None
    async with host(gateway, user, room=room) as socket:
        try:
            if talk.joined:
                await socket.send(request("join", call_id="join"))
                await take_answers(socket, 0, "join", [])
            for frame in talk.send:
                await socket.send(frame, text=not talk.binary)
            await socket.send(request("ping", call_id="end"))
            await take_answers(socket, len(talk.codes), "end", answers)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
    for fault in talk_faults(talk, answers, code):
        yield fault


async def take_answers(socket: ClientConnection, count: int, last: str, found: list[Any]) -> None:
    """Into ``found``: so many, and until the answer to ``last``. Notifications are passed over."""
    ended = False
    while not ended or len(found) < count:
        message = json.loads(await socket.recv())
        for one in message if isinstance(message, list) else [message]:
            if one.get("id") == last:
                ended = True
            elif "method" not in one:
                found.append(one)


def talk_faults(talk: Talk, answers: Sequence[Any], code: int | None) -> Iterator[str]:
    if code != talk.closes:
        yield f"closed with {code}, not {talk.closes}"
    if talk.closes is not None and not talk.codes:
        return
    in_order = sorted(answers, key=_number)
    got = [one.get("error", {}).get("code") for one in in_order]
    if not _agree(got, talk.codes):
        yield f"answers {got}, not {[sorted(map(str, c)) for c in talk.codes]}"
    text = json.dumps(answers)
    yield from (f"tells {word!r}" for word in SECRETS if word in text)


def _number(answer: Any) -> int:
    """Of the request: an offer's answer takes longer than what was sent after it."""
    return answer["id"] if type(answer["id"]) is int else 0


def _agree(got: Sequence[int | None], wanted: Sequence[Codes]) -> bool:
    return len(got) == len(wanted) and all(g in w for g, w in zip(got, wanted, strict=True))


# -- by hand --------------------------------------------------------------------------------


async def raw_talk(gateway: GatewayProcess, user: str, raw: bytes) -> int | None:
    """The code of the close frame; None if there was none."""
    async with await anyio.connect_tcp("127.0.0.1", gateway.port) as stream:
        await stream.send(opening(f"/ws?token={token(user)}").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        await stream.send(raw)
        return closed_with(head.partition(b"\r\n\r\n")[2] + await the_rest(stream))


async def the_rest(stream: SocketStream) -> bytes:
    found = b""
    with anyio.move_on_after(SLACK_SECONDS):
        try:
            while True:
                found += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    return found


def closed_with(sent: bytes) -> int | None:
    """Of short frames, not masked (RFC 6455, section 5.2)."""
    while len(sent) >= 2:
        opcode, length = sent[0] & 0x0F, sent[1] & 0x7F
        if opcode == 8:
            return int.from_bytes(sent[2:4], "big")
        sent = sent[2 + length :]
    return None

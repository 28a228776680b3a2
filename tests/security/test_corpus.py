"""Every route of contract.md §2 against bad input: the right problem, and nothing written."""

from collections.abc import Iterator

import anyio
import pytest

from pkg.etcd.api import KV, Etcd
from tests.security import case_bodies, case_framing, case_tokens, cases
from tests.security.cases import Case, Note
from tests.security.wire import Answer, Request, ask
from tests.support.room_manager import ROOT, Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]
MEMBERS = {"type", "title", "status", "detail", "code"}


def corpus(api_key: str, master: str) -> Iterator[Case]:
    yield from cases.ids()
    yield from cases.unknown()
    yield from cases.queries()
    yield from cases.methods()
    yield from cases.keys(api_key)
    yield from case_bodies.malformed()
    yield from case_bodies.fields()
    yield from case_bodies.kinds()
    yield from case_bodies.sizes()
    yield from case_framing.framing(api_key)
    yield from case_tokens.refused(master)
    yield from case_tokens.not_granted(master)


async def stored(etcd: Etcd) -> tuple[KV, ...]:
    return (await etcd.range("/")).kvs


async def make_rooms(daemon: Daemon) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {daemon.api_key}", **cases.JSON}
    for body in (b'{"roomId":"open"}', b'{"roomId":"shut","pin":"4711"}'):
        answer = await ask(daemon.port, Request("POST", "/api/rooms", headers, body))
        assert answer is not None
        assert answer.status == 201, answer
    return headers


def faults(case: Case, answer: Answer | None, secrets: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the answer, in words; nothing if it is as it should be."""
    if answer is None:
        yield "closed without an answer"
        return
    if answer.status not in case.status:
        yield f"{answer.status}, not {sorted(case.status)}: {answer.body[:200]!r}"
    if case.allow is not None:
        allow = {name.strip() for name in answer.headers.get("allow", "").split(",")}
        if allow != case.allow:
            yield f"Allow: {sorted(allow)}, not {sorted(case.allow)}"
    if answer.status == 401 and "www-authenticate" not in answer.headers:
        yield "401 without WWW-Authenticate"
    text = answer.body.decode("utf-8", "replace") + str(answer.headers)
    yield from (
        f"tells {word!r}" for word in (*secrets, "Traceback", ".py", str(ROOT)) if word in text
    )
    if len(answer.body) > 4096:
        yield f"an answer of {len(answer.body)} bytes"
    if case.request.method != "HEAD":
        yield from _document_faults(case, answer)


def _document_faults(case: Case, answer: Answer) -> Iterator[str]:
    if answer.headers.get("content-type") != "application/problem+json":
        yield f"content type {answer.headers.get('content-type')}"
        return
    problem = answer.document
    if not problem.keys() >= MEMBERS or problem["status"] != answer.status:
        yield f"no problem document: {problem}"
    if case.code is not None and problem["code"] != case.code:
        yield f"code {problem['code']}, not {case.code}"
    if case.field is not None and case.field not in {e["field"] for e in problem.get("errors", [])}:
        yield f"does not name {case.field}: {problem}"


async def ask_as(daemon: Daemon, case: Case) -> Answer | None:
    request = case.request
    if case.keyed and request.raw is None:
        key = {"Authorization": f"Bearer {daemon.api_key}"}
        request = Request(request.method, request.target, key | request.headers, request.body)
    try:
        return await ask(daemon.port, request)
    except TimeoutError:
        return None


@pytest.mark.timeout(300)
async def test_the_corpus_gets_problems_and_writes_nothing(
    daemon: Daemon, record_property: Note
) -> None:
    found: list[str] = []
    secrets = (daemon.api_key, daemon.master)
    async with daemon.etcd() as etcd:
        await make_rooms(daemon)
        await etcd.txn([], case_tokens.revoked(daemon.master))
        before, every = await stored(etcd), list(corpus(daemon.api_key, daemon.master))
        for case in every:
            answer = await ask_as(daemon, case)
            found += [f"{case.name}: {fault}" for fault in faults(case, answer, secrets)]
            if (now := await stored(etcd)) != before:
                found.append(f"{case.name}: wrote {sorted({kv.key for kv in now})}")
                before = now
    record_property("cases", len(every))
    assert not found, f"{len(found)} of {len(every)}:\n" + "\n".join(found)
    assert len(every) >= 300
    assert daemon.alive()
    for secret in secrets:
        assert secret not in daemon.said
    assert "Traceback" not in daemon.said


async def test_a_request_cut_short_is_never_obeyed(daemon: Daemon) -> None:
    async with daemon.etcd() as etcd:
        before = await stored(etcd)
        for raw in case_framing.cut_short(daemon.api_key):
            with anyio.move_on_after(1.0):
                await ask(daemon.port, Request(raw=raw), close_after=True)
            assert await stored(etcd) == before, raw
    assert daemon.alive()

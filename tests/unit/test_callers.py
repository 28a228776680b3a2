"""Who may call what: the API key all, a host's token what its grants name, on its own room."""

from typing import Any

import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import AIR, MODERATE, Role, Tokens
from tests.support.inprocess import InProcess, now, running
from tests.support.obedience import host, put

pytestmark = pytest.mark.anyio
BLUE, RED = RoomId("blue"), RoomId("red")
ROOM = "/api/rooms/blue"
FOR_ANY_HOST = (("GET", ROOM), ("GET", f"{ROOM}/explain"), ("GET", f"{ROOM}/participants"))
FOR_AIR = (("POST", f"{ROOM}/start"), ("POST", f"{ROOM}/start?wait=0"), ("POST", f"{ROOM}/stop"))
FOR_MODERATORS = tuple(
    ("POST", f"{ROOM}/participants/bob/{verb}") for verb in ("mute", "unmute", "kick")
)
FOR_OPERATORS = (
    ("POST", "/api/rooms"),
    ("GET", "/api/rooms"),
    ("DELETE", ROOM),
    ("POST", f"{ROOM}/tokens"),
    ("POST", f"{ROOM}/revocations"),
    ("GET", "/api/modules"),
    ("PUT", "/api/modules/janus/j1/mark"),
    ("GET", "/api/live"),
)
EVERY = FOR_ANY_HOST + FOR_AIR + FOR_MODERATORS + FOR_OPERATORS


def token(stage: InProcess, role: Role = Role.HOST, room: RoomId = BLUE, *grants: str) -> str:
    return stage.context.tokens.issue(room, "ann", role, now=now(), ttl=60, grants=grants)


async def make(stage: InProcess) -> None:
    for room in (BLUE, RED):
        await stage.client.post("/api/rooms", json={"roomId": room})
    await put(stage.etcd, host("bob"))


async def call(stage: InProcess, method: str, path: str, bearer: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {bearer}"}
    answer = await stage.public.request(method, path, headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("grants", "opened"),
    [
        ((), FOR_ANY_HOST),
        ((AIR,), FOR_ANY_HOST + FOR_AIR),
        ((MODERATE,), FOR_ANY_HOST + FOR_MODERATORS),
        ((AIR, MODERATE, "later"), FOR_ANY_HOST + FOR_AIR + FOR_MODERATORS),
    ],
)
async def test_a_host_may_what_his_grants_name_and_no_more(
    grants: tuple[str, ...], opened: tuple[tuple[str, str], ...]
) -> None:
    async with running() as stage:
        await make(stage)
        bearer = token(stage, Role.HOST, BLUE, *grants)
        for method, path in EVERY:
            status, problem = await call(stage, method, path, bearer)
            if (method, path) in opened:  # no module is there to start it on
                assert status == 200 or problem["code"] == "no-capacity", (method, path, problem)
            else:
                assert (status, problem["code"]) == (403, "not-granted"), (method, path)


async def test_a_listeners_token_opens_nothing() -> None:
    async with running() as stage:
        await make(stage)
        for method, path in EVERY:
            status, problem = await call(stage, method, path, token(stage, Role.LISTENER))
            assert (status, problem["code"]) == (403, "not-granted"), (method, path)


async def test_what_does_not_count_reads_like_a_wrong_key() -> None:
    async with running() as stage:
        await make(stage)
        every = (AIR, MODERATE)
        foreign = Tokens([token_key(b"x" * 32)])
        tokens = stage.context.tokens
        revoked = token(stage, Role.HOST, BLUE, *every)
        unreadable = token(stage, Role.HOST, BLUE, *every)
        marks = [
            Put(keys.revoked_token(tokens.read(revoked).token_id), b'{"before":0}'),
            Put(keys.revoked_token(tokens.read(unreadable).token_id), b"{"),
        ]
        await stage.etcd.txn([], marks)
        bad = {
            "nonsense": "x",
            "three parts": "a.b.c",
            "another Onair's": foreign.issue(BLUE, "ann", Role.HOST, now=now(), ttl=60),
            "over": tokens.issue(BLUE, "ann", Role.HOST, now=now() - 100, ttl=60),
            "another room's": token(stage, Role.HOST, RED, *every),
            "revoked": revoked,
            "perhaps revoked": unreadable,
        }
        texts = set()
        for what, bearer in bad.items():
            for method, path in EVERY:
                if what == "another room's" and ROOM not in path:
                    continue
                status, problem = await call(stage, method, path, bearer)
                assert (status, problem["code"]) == (401, "unauthorized"), (what, method, path)
                texts.add(problem["detail"])
        assert len(texts) == 1


async def test_an_unknown_room_is_not_told_to_whom_it_is_not_his() -> None:
    async with running() as stage:
        await make(stage)
        bearer = token(stage)
        assert (await call(stage, "GET", "/api/rooms/nobody", bearer))[0] == 401
        assert (await call(stage, "GET", "/api/rooms/red", bearer))[0] == 401
        gone = token(stage, Role.HOST, RoomId("nobody"))
        assert (await call(stage, "GET", "/api/rooms/nobody", gone))[0] == 404

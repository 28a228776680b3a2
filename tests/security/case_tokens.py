"""The corpus's tokens as bearers: of each bad kind on each route, and good ones on the wrong one.

All of them are of room ``open``, where they would count, unless their name says otherwise.
"""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jwt

from pkg import keys
from pkg.etcd.api import Op, Put
from pkg.model import Revocation, RoomId
from pkg.secrets import key_id, token_key
from pkg.tokens import AIR, AUDIENCE, ISSUER, MODERATE, TYPE, Grant, Role, Tokens
from tests.security.cases import ROUTES, Case, Route

OPEN = RoomId("open")
FOR_AIR = {"/api/rooms/{room}/start", "/api/rooms/{room}/stop"}
FOR_MODERATORS = {
    f"/api/rooms/{{room}}/participants/{{user}}/{verb}" for verb in ("mute", "unmute", "kick")
}
FOR_ANY_HOST = {("GET", f"/api/rooms/{{room}}{path}") for path in ("", "/explain", "/participants")}
KEYED = tuple(route for route in ROUTES if not route.open)


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def grant(name: str = "fine", role: Role = Role.HOST, **more: Any) -> Grant:
    grants = frozenset({AIR, MODERATE}) if role is Role.HOST else frozenset[str]()
    found = {"user": "mo", "room_id": OPEN, "role": role, "grants": grants, **more}
    found = {"issued_at": now(), "expires_at": now() + 3600, **found}
    return Grant(token_id=name, **found)


def revoked(master: str) -> list[Op]:
    """What stands in etcd while the corpus runs; ``garbled`` cannot be read."""
    assert len(token_key(master.encode())) == 32
    mark = Revocation(before=now() + 3600).encode()
    return [
        Put(keys.revoked_token("taken"), mark),
        Put(keys.revoked_token("garbled"), b"{"),
        Put(keys.revoked_user(OPEN, "kicked"), mark),
    ]


def forged(master: str) -> dict[str, str]:
    key = token_key(master.encode())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "mo", "room": "open", "role": "host"}
    claims |= {"iat": now(), "exp": now() + 60, "jti": "j", "grants": [AIR, MODERATE]}  # type: ignore[dict-item]
    header = {"typ": TYPE, "kid": key_id(key)}

    def signed(with_key: bytes = key, algorithm: str = "HS256", **changes: Any) -> str:
        said = {k: v for k, v in (claims | changes).items() if v is not None}
        return jwt.encode(said, with_key, algorithm=algorithm, headers=header)

    unsigned = [{"alg": "none", **header}, claims]
    return {
        "alg none": ".".join([*(part(json.dumps(p)) for p in unsigned), ""]),
        "HS512": signed(key * 2, "HS512"),
        "another key": signed(b"x" * 32),
        "the master secret": signed(master.encode()),
        "no exp": signed(exp=None),
        "exp as text": signed(exp=str(now() + 60)),
        "exp 10^30": signed(exp=10**30),
        "longer than a day": signed(exp=now() + 86_500),
        "not yet issued": signed(iat=now() + 600, exp=now() + 660),
        "another audience": signed(aud="elsewhere"),
        "another issuer": signed(iss="elsewhere"),
        "sub a path": signed(sub="../../x"),
        "jti a path": signed(jti="../users/open/mo"),
        "role unknown": signed(role="admin"),
        "grants of a listener": signed(role="listener"),
        "changed payload": signed().replace(".", ".e30", 1),
        "cut": signed()[:-6],
        "4 KB": signed(x="x" * 4096),
        "dots": "..",
    }


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def dead(master: str) -> dict[str, str]:
    """Signed by the very key, and yet they do not count."""
    grants = {
        "over": grant(issued_at=now() - 7200, expires_at=now() - 3600),
        "another room's": grant(room_id=RoomId("shut")),
        "of a room that is not there": grant(room_id=RoomId("nobody")),
        "room in capitals": grant(room_id=RoomId("OPEN")),
        "revoked": grant("taken"),
        "perhaps revoked": grant("garbled"),
        "of one who was kicked": grant(user="kicked"),
    }
    tokens = Tokens([token_key(master.encode())])
    return {what: tokens.sign(found) for what, found in grants.items()}


def _case(route: Route, what: str, token: str, status: int, code: str) -> Case:
    request = route.request({"Authorization": f"Bearer {token}"})
    name = f"{route.method} {route.path}: token {what}"
    return Case(name, request, frozenset({status}), code, keyed=False)


def refused(master: str) -> Iterator[Case]:
    one_of_each = [next(r for r in KEYED if r.path in paths) for paths in (FOR_AIR, FOR_MODERATORS)]
    for what, token in forged(master).items():
        for route in (*one_of_each, KEYED[0]):
            yield _case(route, what, token, 401, "unauthorized")
    for what, token in dead(master).items():
        for route in KEYED:
            if "room" in what and "{room}" not in route.path:
                continue  # a living token after all, which has no business there
            yield _case(route, what, token, 401, "unauthorized")


def not_granted(master: str) -> Iterator[Case]:
    tokens = Tokens([token_key(master.encode())])
    whole = tokens.sign(grant())
    none = tokens.sign(grant(grants=frozenset()))
    air = tokens.sign(grant(grants=frozenset({AIR, "fly"})))
    moderate = tokens.sign(grant(grants=frozenset({MODERATE, "air-"})))
    listener = tokens.sign(grant(role=Role.LISTENER))
    for route in KEYED:
        yield _case(route, "a listener's", listener, 403, "not-granted")
        if route.path in FOR_AIR:
            wrong = {"without grants": none, "without air": moderate}
        elif route.path in FOR_MODERATORS:
            wrong = {"without grants": none, "without moderate": air}
        elif (route.method, route.path) in FOR_ANY_HOST:
            wrong = {}
        else:
            wrong = {"a host's": whole}
        for what, token in wrong.items():
            yield _case(route, what, token, 403, "not-granted")
    himself = Route("POST", "/api/rooms/open/participants/mo/kick", frozenset())
    yield _case(himself, "his own", whole, 403, "not-granted")

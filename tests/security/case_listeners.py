"""The corpus of a room that is on air behind a PIN (spec 4.6): playlist, segments, key, origin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import Revocation, RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, Tokens
from tests.security import case_tokens
from tests.security.cases import Case
from tests.security.wire import Request

ROOM, OTHER = RoomId("shut"), RoomId("open")
METHODS = ("GET", "HEAD")
RANGE = {"Range": "bytes=0-0,2-2,4-4"}
BAD_NAMES = (
    *("", ".", "..", "../live.m3u8", "..%2flive.m3u8", "%2e%2e/key", "%2e%2e%2fkey", "..%5ckey"),
    *("key", "key-info", ".key", "room.sdp", "log", "ffmpeg.log", "live.m3u8.tmp", "live.m3u8%00"),
    *("live.m3u8%0a", "LIVE.M3U8", "live.m3u8/", "live.m3u8;x", "/etc/passwd", "%2fetc%2fpasswd"),
    *("index.html", "a" * 8000, "%ff%fe", "s_0_0.ts", "s_1_1.ts", "s_-1_1.ts", "s_1.ts"),
    *("s_99999999999999999999_1.ts", "s_%D9%A1_1.ts", "{segment}.tmp", "{segment}%00"),
    *("{segment}/", "{segment}%0a", "./{segment}", "x/../{segment}", "{segment}.ts"),
    "../shut/{segment}",
)
ORIGIN_PATHS = (
    *("/", "/shut", "/shut/", "/shut/{epoch}", "/shut/{epoch}/", "/shut/{epoch}/key"),
    *("/shut/{epoch}/key-info", "/shut/{epoch}/room.sdp", "/shut/{epoch}/../../key"),
    *("/shut/{epoch}/..%2f..%2fkey", "/shut/{epoch}/%2e%2e/{epoch}/live.m3u8", "//shut/{epoch}/"),
    *("/shut.{epoch}/key", "/../run/shut.{epoch}/key", "/%2e%2e/run/shut.{epoch}/key", "/probe/x"),
    *("/shut/{epoch}/{segment}.tmp", "/shut/{epoch}/{segment}%00", "/shut/{epoch}/live.m3u8%0a"),
    *("/shut/0{epoch}/live.m3u8", "/SHUT/{epoch}/live.m3u8", "/shut\\{epoch}\\live.m3u8"),
    *("/shut/1/live.m3u8", "/open/{epoch}/live.m3u8", "/etc/passwd", "/%2fetc%2fpasswd"),
)


@dataclass(frozen=True)
class OnAir:
    """What a listener with the PIN found. ``master`` signs tokens."""

    master: str
    token: str
    segment: str
    epoch: int
    nonce: str

    @property
    def paths(self) -> Mapping[str, str]:
        return {
            "playlist": f"/hls/{ROOM}/live.m3u8?",
            "segment": f"/hls/{ROOM}/{self.segment}?",
            "key": f"/api/rooms/{ROOM}/key?nonce={self.nonce}&",
        }


def revoked() -> list[Put]:
    mark = Revocation(before=case_tokens.now() + 3600).encode()
    return [Put(keys.revoked_token("taken"), mark)]


def bad_tokens(found: OnAir) -> dict[str, str]:
    tokens, now = Tokens([token_key(found.master.encode())]), case_tokens.now()
    listener = case_tokens.grant("fine", Role.LISTENER, room_id=ROOM)
    grants = {
        "another room's": replace(listener, room_id=OTHER),
        "over": replace(listener, issued_at=now - 7200, expires_at=now - 3600),
        "revoked": replace(listener, token_id="taken"),
        "for another PIN": replace(listener, pin="0" * 16),
        "for no PIN": replace(listener, pin=""),
    }
    signed = {what: tokens.sign(grant) for what, grant in grants.items()}
    host = tokens.sign(case_tokens.grant(room_id=ROOM))
    cut, head = found.token[:-4], found.token.rpartition(".")[0]
    own = {"a host's": host, "empty": "", "cut": cut, "unsigned": head + ".", "garbage": "a.b.c"}
    return signed | own | case_tokens.forged(found.master)


def refused(found: OnAir) -> Iterator[Case]:
    """401 to whoever has no token of the room, whatever he asks for and however."""
    for what, path in found.paths.items():
        for name, token in {"none": None, **bad_tokens(found)}.items():
            target = path.rstrip("?&") if token is None else f"{path}token={token}"
            for method in METHODS:
                yield _case(f"{method} {what}, token {name}", Request(method, target), 401)
            yield _case(f"parts of {what}, token {name}", Request("GET", target, RANGE), 401)
        cookie = {"Cookie": f"token={found.token}", "Authorization": f"Bearer {found.token}"}
        yield _case(f"{what}, token elsewhere", Request("GET", path.rstrip("?&"), cookie), 401)
        twice = Request("GET", f"{path}token={found.token}&token={found.token}")
        yield _case(f"{what}, token twice", twice, 422)


def absent(found: OnAir) -> Iterator[Case]:
    """404, also to whom the room belongs."""
    for name in BAD_NAMES:
        target = f"/hls/{ROOM}/{name.format(segment=found.segment)}?token={found.token}"
        yield Case(f"file {name:.40}", Request("GET", target), frozenset({404, 422}), keyed=False)
    epoch, _, number = found.segment.removeprefix("s_").removesuffix(".ts").partition("_")
    for name in (f"s_{int(epoch) - 1}_{number}.ts", f"s_{epoch}_1.ts", f"s_{epoch}_{2**62}.ts"):
        target = f"/hls/{ROOM}/{name}?token={found.token}"
        yield _case(f"segment {name}", Request("GET", target), 404)
    wrong = f"{int(found.nonce[0] == '0')}{found.nonce[1:]}"
    for nonce in ("", "0" * 32, wrong, found.nonce.upper() + "x", found.nonce[:-1], "%00", "../x"):
        target = f"/api/rooms/{ROOM}/key?nonce={nonce}&token={found.token}"
        yield _case(f"nonce {nonce!r}", Request("GET", target), 404)


def origin(found: OnAir) -> Iterator[Case]:
    """The mixer's own port: it serves encrypted segments, and nothing else."""
    for path in ORIGIN_PATHS:
        target = path.format(epoch=found.epoch, segment=found.segment)
        yield Case(f"origin {path}", Request("GET", target), frozenset({404}), keyed=False)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        request = Request(method, f"/shut/{found.epoch}/live.m3u8")
        yield Case(f"origin {method}", request, frozenset({405}), keyed=False)


def _case(name: str, request: Request, status: int) -> Case:
    return Case(name, request, frozenset({status}), keyed=False)

"""The HLS origin of one mixer: playlists and segments of its media folder, and nothing else.

Room managers fetch from here; so may a CDN. The only file of the mixer that knows the web
framework. No text of a request is ever joined to a path: the raw path must match as a whole, and
each folder is opened from its parent without following links.
"""

import os
import re
from contextlib import ExitStack
from pathlib import Path
from stat import S_ISREG

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mixer import seams
from pkg import keys
from pkg.model import ModuleId

EPOCH_PATTERN = r"[1-9][0-9]{0,18}"
PLAYLIST = "live.m3u8"
NAME_PATTERN = r"live\.m3u8|s_(?P<of>[1-9][0-9]{0,18})_(?:0|[1-9][0-9]{0,18})\.ts"
PATH_PATTERN = re.compile(
    rf"/(?P<room>{keys.ROOM_ID_PATTERN})/(?P<epoch>{EPOCH_PATTERN})/(?P<name>{NAME_PATTERN})",
    re.ASCII,
)
MAX_BYTES = 4 * 2**20  # a 2 s segment has 20 KB

PLAYLIST_HEADERS = {
    "content-type": "application/vnd.apple.mpegurl",
    "cache-control": "no-store",
}
SEGMENT_HEADERS = {
    "content-type": "video/mp2t",
    "cache-control": "public, max-age=31536000, immutable",
}
COMMON_HEADERS = {"x-content-type-options": "nosniff"}


def app(media: Path, mixer_id: ModuleId, segment_seconds: float) -> Starlette:
    """``/probe`` names the mixer, so that a prober never takes another host's answer for it."""

    async def probe(_request: Request) -> Response:
        return JSONResponse(
            {"kind": "mixer", "mixerId": mixer_id}, headers={"cache-control": "no-store"}
        )

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    async def media_file(request: Request) -> Response:
        return _answer(media, request, segment_seconds)

    return Starlette(
        routes=[
            Route("/probe", probe, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/{path:path}", media_file, methods=["GET"]),  # and HEAD; others get 405
        ]
    )


def _answer(media: Path, request: Request, segment_seconds: float) -> Response:
    wanted = parse(request.scope["raw_path"])
    content = read(media, wanted) if wanted else None
    if wanted is None or content is None:
        return PlainTextResponse(
            "not found\n", 404, {"cache-control": "no-store", **COMMON_HEADERS}
        )
    kind = SEGMENT_HEADERS
    if wanted[2] == PLAYLIST:
        kind, content = PLAYLIST_HEADERS, _whole(media, wanted, content, segment_seconds)
    response = Response(content, headers={**kind, **COMMON_HEADERS})
    if request.method == "HEAD":
        response.body = b""  # content-length stays that of GET (RFC 9110 §9.3.2)
    return response


def _whole(
    media: Path, wanted: tuple[str, str, str], content: bytes, segment_seconds: float
) -> bytes:
    room, epoch, _ = wanted
    listed = read(media, (room, epoch, seams.RUNS_FILE)) or b""
    runs = seams.parse(listed.decode(errors="replace"), int(epoch))
    return seams.served(content.decode(errors="replace"), runs, segment_seconds).encode()


def parse(raw_path: bytes) -> tuple[str, str, str] | None:
    """Room, epoch and file name of a path as it was sent, undecoded: no escape ever matches.

    >>> parse(b"/blue/7/s_7_12.ts")
    ('blue', '7', 's_7_12.ts')
    >>> [parse(p) for p in (b"/blue/7/s_8_12.ts", b"/blue/7/", b"/blue/%2e%2e/live.m3u8")]
    [None, None, None]
    """
    found = PATH_PATTERN.fullmatch(raw_path.decode("latin-1"))
    if found is None or found["of"] not in {None, found["epoch"]}:
        return None
    return found["room"], found["epoch"], found["name"]


def read(media: Path, wanted: tuple[str, str, str]) -> bytes | None:
    """The file's content; None if there is none, or a link, folder or device in its place."""
    *folders, name = wanted
    try:
        with ExitStack() as opened:
            parent = _open(opened, os.fspath(media), os.O_DIRECTORY, None)
            for folder in folders:
                parent = _open(opened, folder, os.O_DIRECTORY | os.O_NOFOLLOW, parent)
            file = _open(opened, name, os.O_NOFOLLOW | os.O_NONBLOCK, parent)
            return _content(file)
    except OSError:
        return None


def _open(opened: ExitStack, name: str, flags: int, parent: int | None) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=parent)
    opened.callback(os.close, descriptor)
    return descriptor


def _content(file: int) -> bytes | None:
    facts = os.fstat(file)
    if not S_ISREG(facts.st_mode) or facts.st_size > MAX_BYTES:
        return None
    return os.read(file, facts.st_size)

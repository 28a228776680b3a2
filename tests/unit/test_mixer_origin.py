"""The origin serves playlists and segments of its folder, and nothing else (security 4.6)."""

import os
from pathlib import Path

import httpx
import pytest

from mixer.origin import app, parse
from pkg.model import ModuleId

pytestmark = pytest.mark.anyio
SEGMENT = "/blue/7/s_7_7340032.ts"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    folder = media / "blue" / "7"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "live.m3u8").write_text("#EXTM3U\n")
    (folder / "s_7_7340032.ts").write_bytes(b"sound")
    (folder / "s_7_8.ts.tmp").write_bytes(b"half")
    (folder / "key").write_bytes(b"k" * 16)
    (folder / "s_7_1.ts").symlink_to(tmp_path / "secret")
    (folder / "s_7_2.ts").mkdir()
    os.mkfifo(folder / "s_7_3.ts")
    (media / "red").symlink_to(media / "blue")
    (media / "blue" / "9").symlink_to(folder)
    return media


async def call(media: Path, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=app(media, ModuleId("m1"), 2.0))
    async with httpx.AsyncClient(transport=transport, base_url="http://origin") as client:
        request = client.build_request(method, "http://origin/")
        request.url = httpx.URL("http://origin").copy_with(raw_path=path.encode("latin-1"))
        return await client.send(request)


async def test_a_playlist_is_never_cached_and_a_segment_for_ever(media: Path) -> None:
    playlist = await call(media, "/blue/7/live.m3u8")
    assert (playlist.status_code, playlist.text) == (200, "#EXTM3U\n")
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert playlist.headers["cache-control"] == "no-store"
    segment = await call(media, SEGMENT)
    assert (segment.status_code, segment.content) == (200, b"sound")
    assert segment.headers["content-type"] == "video/mp2t"
    assert "immutable" in segment.headers["cache-control"]


async def test_a_playlist_says_what_ffmpeg_leaves_out(media: Path) -> None:
    folder = media / "blue" / "7"
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7340040\n"
    (folder / "live.m3u8").write_text(text)
    (folder / "runs").write_text("7340032\n7340036\n7340040\n")
    playlist = await call(media, "/blue/7/live.m3u8")
    assert playlist.text.splitlines()[1:] == [
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:7340040",
        "#EXT-X-DISCONTINUITY-SEQUENCE:2",
    ]
    head = await call(media, "/blue/7/live.m3u8", "HEAD")
    assert head.headers["content-length"] == str(len(playlist.content))
    assert (await call(media, "/blue/7/runs")).status_code == 404


async def test_a_query_changes_nothing(media: Path) -> None:
    assert (await call(media, SEGMENT + "?token=../../secret")).status_code == 200


async def test_head_answers_as_get_without_the_body(media: Path) -> None:
    answer = await call(media, SEGMENT, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "5"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_nothing_can_be_changed(media: Path, method: str) -> None:
    assert (await call(media, SEGMENT, method)).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/blue",
        "/blue/",
        "/blue/7",
        "/blue/7/",
        "/blue/8/live.m3u8",
        "/blue/07/live.m3u8",
        "/blue/7/live.m3u8/",
        "/blue/7/live.m3u8%0a",
        "/blue/7/live.m3u8%00",
        "/blue/7/live.m3u8.tmp",
        "/blue/7/key",
        "/blue/7/.key",
        "/blue/7/s_7_8.ts.tmp",
        "/blue/7/s_8_7340032.ts",
        "/blue/7/s_7_07.ts",
        "/blue/7/s_7_%d.ts",
        "/blue/7/%2e%2e/7/live.m3u8",
        "/blue%2f7/live.m3u8",
        "/blue/7%2flive.m3u8",
        "/%62lue/7/live.m3u8",
        "/blue\\7\\live.m3u8",
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/blue/7/s_7_1.ts",
        "/blue/7/s_7_2.ts",
        "/blue/7/s_7_3.ts",
        "/red/7/live.m3u8",
        "/blue/9/live.m3u8",
        "/-blue/7/live.m3u8",
        "/" + "a" * 300 + "/7/live.m3u8",
        "/blue/" + "9" * 300 + "/live.m3u8",
        "/healthz/",
        "/probe/x",
    ],
)
async def test_everything_else_is_not_found(media: Path, path: str) -> None:
    answer = await call(media, path)
    assert answer.status_code == 404
    assert answer.text == "not found\n"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_probe_names_the_mixer(media: Path) -> None:
    assert (await call(media, "/probe")).json() == {"kind": "mixer", "mixerId": "m1"}
    assert (await call(media, "/healthz")).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"/blue/7/../7/live.m3u8",
        b"/bl\xfce/7/live.m3u8",
        b"/blue/7/live.m3u8\n",
        b"/blue/7/live.m3u8\0",
        b"/blue/\xd9\xa7/live.m3u8",
        b"blue/7/live.m3u8",
        b"",
    ],
)
def test_a_path_must_match_byte_for_byte(raw: bytes) -> None:
    assert parse(raw) is None

"""The pages as they are sent: whole, packed, kept as long as they may be, held to their origin."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pkg import keys
from pkg.errors import ConfigError
from pkg.etcd.api import Delete, Put
from pkg.events.server import StreamServer
from pkg.model import Gateway
from roommanager import assets
from roommanager.api import create_app
from roommanager.history import History
from tests.support.inprocess import PAGES, InProcess, running

pytestmark = pytest.mark.anyio
PAGE_PATHS = ("/", "/studio/blue", "/listen/blue")
LINK = re.compile(r'(?:src|href)="([^"]*)"')
IMPORT = re.compile(r'(?:from|import)\s*\(?\s*"([^"]+)"')


async def register(stage: InProcess, name: str, url: str) -> None:
    gateway = Gateway(url=url, host="h", started_at="t", instance_id="i", pid=1)
    await stage.etcd.txn([], [Put(keys.gateway(name), gateway.encode())])
    await stage.context.view.informer.reached("/", stage.etcd.store.revision)


def connects(answer: httpx.Response) -> list[str]:
    found = re.search("connect-src ([^;]*);", answer.headers["content-security-policy"])
    assert found is not None
    return found[1].split()


@pytest.mark.parametrize("path", PAGE_PATHS)
async def test_a_page_and_all_it_names_come_from_here(path: str) -> None:
    async with running() as stage:
        page = await stage.public.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "{assets}" not in page.text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.text)
        links = [link for link in LINK.findall(page.text) if "assets/" in link]
        assert links
        for link in links:
            found = await stage.public.get(str(page.url.join(link)))
            assert found.status_code == 200, link
            assert "immutable" in found.headers["cache-control"]


async def test_what_the_scripts_import_is_there() -> None:
    for name, file in PAGES.files.items():
        if name.endswith((".js", ".mjs")) and not name.startswith("vendor/"):
            for other in IMPORT.findall(file.body.decode()):
                assert other.startswith("."), (name, other)
                path = httpx.URL(f"http://x/{name}").join(other).path.removeprefix("/")
                assert path in PAGES.files, (name, other)


@pytest.mark.parametrize("path", [*PAGE_PATHS, "/listen/-", "/nothing"])
async def test_every_page_is_held_to_its_origin(path: str) -> None:
    async with running() as stage:
        answer = await stage.public.get(path, headers={"Accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        for part in (
            *("default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'"),
            *("form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"),
        ):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        microphone = "microphone=(self)" if path.startswith("/studio") else "microphone=()"
        assert microphone in answer.headers["permissions-policy"]


async def test_only_the_studio_may_speak_to_the_gateways_that_are_there() -> None:
    async with running() as stage:
        assert (await stage.public.get("/pages/config")).json() == {"gateways": []}
        await register(stage, "g1", "wss://b.example/ws")
        await register(stage, "g2", "ws://a.example:8081/ws")
        await register(stage, "odd", "ws://x; script-src *")
        await stage.etcd.txn([], [Put(keys.gateway("unreadable"), b"{")])
        config = await stage.public.get("/pages/config")
        assert config.json() == {"gateways": ["ws://a.example:8081/ws", "wss://b.example/ws"]}
        assert config.headers["cache-control"] == "no-store"
        studio = await stage.public.get("/studio/blue")
        assert connects(studio) == ["'self'", "ws://a.example:8081", "wss://b.example"]
        for path in ("/", "/listen/blue"):
            assert connects(await stage.public.get(path)) == ["'self'"]
        await stage.etcd.txn([], [Delete(keys.gateway("g1"))])
        await stage.context.view.informer.reached("/", stage.etcd.store.revision)
        again = await stage.public.get("/studio/blue")
        assert connects(again) == ["'self'", "ws://a.example:8081"]
        assert again.headers["etag"] != studio.headers["etag"], "else an old policy would be kept"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("", []),
        ("https://history.example/v1/stream/", ["https://history.example"]),
        ("http://[::1]:4437/v1/stream", ["http://[::1]:4437"]),
        ("http://x; script-src *", []),
    ],
)
async def test_only_the_console_may_speak_to_the_stream_server(
    url: str, allowed: list[str]
) -> None:
    async with running() as stage, httpx.AsyncClient() as client:
        history = History(StreamServer(client, url), url)
        app = create_app(replace(stage.context, history=history))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://onair") as public:
            assert connects(await public.get("/")) == ["'self'", *allowed]
            for path in ("/studio/blue", "/listen/blue"):
                assert connects(await public.get(path)) == ["'self'"]
            config = (await public.get("/pages/config")).json()
            told = {"history": f"{url.rstrip('/')}/rooms"} if allowed else {}
            assert config == {"gateways": [], **told}


async def test_who_has_it_is_not_sent_it_again() -> None:
    async with running() as stage:
        asset = f"/assets/{PAGES.version}/style.css"
        for path in ("/", "/listen/blue", asset):
            first = await stage.public.get(path)
            tag = first.headers["etag"]
            for known in (tag, f"W/{tag}", f'"x", {tag}'):
                again = await stage.public.get(path, headers={"If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
            other = await stage.public.get(path, headers={"If-None-Match": '"x"'})
            assert (other.status_code, other.content) == (200, first.content)


async def test_packed_for_those_who_take_it() -> None:
    async with running() as stage:
        name = "vendor/hls.light.min.mjs"
        path = f"/assets/{PAGES.version}/{name}"
        plain = await stage.public.get(path, headers={"Accept-Encoding": "identity"})
        packed = await stage.public.get(path, headers={"Accept-Encoding": "br, gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.content == packed.content == PAGES.files[name].body
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
        assert plain.headers["etag"] != packed.headers["etag"]
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        whole = PAGES.files[name]
        assert whole.packed is not None
        assert gzip.decompress(whole.packed) == whole.body


async def test_head_tells_what_get_would() -> None:
    async with running() as stage:
        for path in (*PAGE_PATHS, f"/assets/{PAGES.version}/style.css"):
            got, head = await stage.public.get(path), await stage.public.head(path)
            assert head.status_code == 200
            for name in ("content-type", "content-length", "etag", "cache-control"):
                assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("path", ["/studio/%2e%2e", "/listen/a%2Fb", "/listen/-a", "/studio/a%00"])
async def test_an_id_that_is_none_gets_a_page_that_says_so(path: str) -> None:
    async with running() as stage:
        answer = await stage.public.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "names no room" in answer.text


async def test_people_get_a_page_for_what_is_not_there_and_programs_a_problem() -> None:
    async with running() as stage:
        browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        for path in ("/nothing", "/assets/x/y", "/studio", "/listen/blue/"):
            page = await stage.public.get(path, headers=browser)
            assert (page.status_code, page.headers["content-type"][:9]) == (404, "text/html")
            assert "nothing at this address" in page.text
            plain = await stage.public.get(path)
            assert plain.headers["content-type"] == "application/problem+json"
        for path in ("/api/nothing", "/hls/x", "/api"):
            answer = await stage.public.get(path, headers=browser)
            assert answer.headers["content-type"] == "application/problem+json"
        posted = await stage.public.post("/nothing", headers=browser)
        assert posted.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "name", ["index.html", "package.json", "vendor/update", "../pyproject.toml", "", "lib", "lib/"]
)
async def test_what_is_no_part_of_a_page_is_not_served(name: str) -> None:
    async with running() as stage:
        for text in {name, name.replace("..", "%2e%2e"), name.replace("/", "%2f")}:
            assert (await stage.public.get(f"/assets/{PAGES.version}/{text}")).status_code == 404


async def test_another_versions_page_gets_what_there_is_and_may_not_keep_it() -> None:
    async with running() as stage:
        found = await stage.public.get(f"/assets/{'0' * 16}/style.css")
        assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
        for version in ("x", "0" * 15, "0" * 17, "G" * 16):
            assert (await stage.public.get(f"/assets/{version}/style.css")).status_code == 404


def test_the_version_is_that_of_the_content() -> None:
    changed = {**PAGES.files, "style.css": assets.File.of("text/css", b"x")}
    templates = dict.fromkeys(assets.TEMPLATES, "{assets}")
    before, after = (assets.Pages(templates, files) for files in (PAGES.files, changed))
    assert before.version == PAGES.version != after.version
    assert after.listen.body.decode() == f"../assets/{after.version}"


def test_an_installation_without_pages_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.html: No such file"):
        assets.load(tmp_path)

"""Pages of a real room manager: whatever the address, a page or a problem, and never a file."""

import re

import pytest

from tests.security.cases import BAD_IDS, Note
from tests.security.test_corpus import stored
from tests.security.wire import Answer, Request, ask
from tests.support.room_manager import Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


async def get(daemon: Daemon, target: str, method: str = "GET") -> Answer:
    answer = await ask(daemon.port, Request(method, target, BROWSER))
    assert answer is not None, target
    return answer


async def test_ids_that_are_none_get_a_page_and_nothing_is_written(
    daemon: Daemon, record_property: Note
) -> None:
    record_property("cases", 2 * len(BAD_IDS))
    async with daemon.etcd() as etcd:
        before = await stored(etcd)
        for page in ("studio", "listen"):
            for what, value in BAD_IDS.items():
                answer = await get(daemon, f"/{page}/{value}")
                assert answer.status == 404, (page, what)
                assert answer.headers["content-type"].startswith("text/html"), (page, what)
                assert b"names no room" in answer.body, (page, what)
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                assert len(value) < 3 or value.encode() not in answer.body, "an id is not repeated"
        assert await stored(etcd) == before


BAD_NAMES = (
    *("../index.html", "../../pyproject.toml", "..%2f..%2fpyproject.toml", "/etc/passwd"),
    *("%2e%2e/%2e%2e/roommanager/pages.py", "lib/../../pkg/keys.py", "..%5c..%5cREADME.md"),
    *("package.json", "package-lock.json", "vendor/update", "index.html", "studio.html", "lib"),
    *("style.css%00.png", "style.css%0a", "style.css/", "%ff", "." * 4000, "%2fetc%2fpasswd"),
)
BAD_METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


async def test_no_address_below_assets_reaches_a_file(
    daemon: Daemon, record_property: Note
) -> None:
    record_property("cases", len(BAD_NAMES) + len(BAD_METHODS))
    page = (await get(daemon, "/listen/blue")).body.decode()
    found = re.search(r"assets/([0-9a-f]{16})/", page)
    assert found is not None
    for name in BAD_NAMES:
        answer = await get(daemon, f"/assets/{found[1]}/{name}")
        assert answer.status == 404, name
        assert b"Not found" in answer.body
        assert b"root:" not in answer.body
    style = await get(daemon, f"/assets/{found[1]}/style.css")
    assert style.status == 200
    for method in BAD_METHODS:
        answer = await get(daemon, f"/assets/{found[1]}/style.css", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


POISONED = (
    "/%3Cscript%3Ealert(1)%3C/script%3E",
    "/<script>alert(1)</script>",
    "/listen/%22%3E%3Csvg%20onload=alert(1)%3E",
    "/?x=<script>alert(1)</script>",
    "/studio/blue?token=%22%3E%3Cscript%3Ealert(1)",
    "/nothing/%7Bassets%7D%7Bwords%7D",
)


async def test_words_of_an_address_never_become_part_of_a_page(
    daemon: Daemon, record_property: Note
) -> None:
    record_property("cases", len(POISONED))
    for target in POISONED:
        answer = await get(daemon, target)
        assert b"alert(1)" not in answer.body, target
        assert not re.search(rb"{\w+}", answer.body), target


async def test_a_token_in_a_pages_address_reaches_no_log(daemon: Daemon) -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0c2VjcmV0"
    assert (await get(daemon, f"/studio/blue?token={secret}")).status == 200
    assert secret not in daemon.said

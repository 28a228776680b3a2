"""Where webhooks go and where not, how they are signed, and what stays out of the log."""

import json
import secrets
import socket
from ipaddress import ip_address
from pathlib import Path

import anyio
import httpx
import pytest

from pkg.errors import ConfigError
from pkg.httpserver import Tls, listen
from streams.subscriptions import addresses
from streams.subscriptions.refusals import Denied
from streams.subscriptions.signing import FILE, Claim, open_signing
from streams.subscriptions.webhook import MAX_ANSWER_BYTES, HttpSender, UndeliveredError
from tests.support.certificates import make_certificates
from tests.support.streams_process import running
from tests.support.webhooks import receiving

pytestmark = pytest.mark.anyio

NOW = 1_000_000_000.0


def own_name() -> str:
    """A name of this machine that has only private or local addresses."""
    name = socket.gethostname()
    try:
        found = {str(answer[4][0]) for answer in socket.getaddrinfo(name, 443)}
    except OSError:
        pytest.skip("this machine's name has no address")
    if any(addresses.is_public(ip_address(one.partition("%")[0])) for one in found):
        pytest.skip("this machine's name has a public address")
    return name


@pytest.mark.parametrize("loopback", [False, True])
async def test_a_name_that_has_a_private_address_is_not_connected_to(loopback: bool) -> None:
    name = own_name()
    bound = listen("0.0.0.0:0")
    bound.setblocking(False)
    url = f"https://{name}:{bound.getsockname()[1]}/hook"
    addresses.judge(url, loopback=loopback)  # what it resolves to is not asked yet
    with bound:
        async with HttpSender(loopback=loopback) as sender:
            with pytest.raises(UndeliveredError, match="private or local"):
                await sender.send(url, b"{}", {})
        with pytest.raises(BlockingIOError):
            bound.accept()


async def test_loopback_is_refused_when_the_setting_is_gone() -> None:
    async with receiving() as receiver, HttpSender(loopback=False) as sender:
        with pytest.raises(UndeliveredError, match="https"):
            await sender.send(receiver.url, b"{}", {})
        assert receiver.hooks == []


@pytest.mark.parametrize(
    ("answer", "done"),
    [
        (b'{"done": true}', True),
        (b'{"done": 1}', False),
        (b"[" * 60_000, False),
        (b"", False),
        (b'{"done": true}' + b" " * MAX_ANSWER_BYTES, False),
    ],
)
async def test_only_a_short_and_plain_word_says_done(answer: bytes, done: bool) -> None:
    async with receiving() as receiver, HttpSender(loopback=True) as sender:
        receiver.answer = answer
        assert await sender.send(receiver.url, b"{}", {}) is done


async def test_a_receiver_whose_certificate_does_not_hold_is_told_nothing(tmp_path: Path) -> None:
    found = make_certificates(tmp_path)
    async with (
        receiving(Tls(found.server_cert, found.server_key)) as receiver,
        HttpSender(loopback=True) as sender,
    ):
        with pytest.raises(UndeliveredError, match="ConnectError"):
            await sender.send(receiver.url, b"{}", {})
        assert receiver.hooks == []


async def test_nobody_there_is_told_without_the_url() -> None:
    bound = listen("127.0.0.1:0")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/secret"
    bound.close()
    async with HttpSender(loopback=True) as sender:
        with pytest.raises(UndeliveredError) as found:
            await sender.send(url, b"{}", {})
    assert str(found.value) == "ConnectError"


def test_a_key_is_made_once_kept_secret_and_changed_without_a_gap(tmp_path: Path) -> None:
    first = open_signing(tmp_path)
    path = tmp_path / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_signing(tmp_path).kid == first.kid
    token = first.token(Claim("one", 3), NOW)
    path.write_text(secrets.token_hex(32) + "\n" + path.read_text())
    changed = open_signing(tmp_path)
    assert changed.kid != first.kid
    assert {key["kid"] for key in changed.jwks()["keys"]} == {changed.kid, first.kid}
    assert changed.read(token, NOW) == Claim("one", 3)
    with pytest.raises(Denied):
        first.read(changed.token(Claim("one", 3), NOW), NOW)


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31])
def test_a_spoilt_key_file_is_told_in_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ConfigError, match="hex digits"):
        open_signing(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_signing(tmp_path)


async def test_no_secret_reaches_the_log(tmp_path: Path) -> None:
    log, data = tmp_path / "log", tmp_path / "data"
    flags = ("--webhook-loopback", "true", "--log-level", "debug")
    async with receiving() as receiver:
        receiver.status = 500
        with running(data, log, *flags) as process:
            async with httpx.AsyncClient(base_url=process.streams, trust_env=False) as http:
                hook = {"url": f"{receiver.url}?key=hush-hush"}
                body = {"type": "webhook", "pattern": "**", "webhook": hook}
                await http.put("/__ds/subscriptions/one", json=body)
                await http.put("/a", content=b"x")
                token = (await receiver.came(1)).body["callback_token"]
                headers = {"authorization": f"Bearer {token}"}
                await http.post("/__ds/subscriptions/one/callback", headers=headers, json={})
                with anyio.fail_after(30):
                    while "wake.failed" not in log.read_text():
                        await anyio.sleep(0.02)
        written = log.read_text()
    for secret in (token, "hush-hush", (data / FILE).read_text().strip()):
        assert secret not in written
    assert json.dumps(token) not in written

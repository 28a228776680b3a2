"""The program itself: its flags, TLS, keys from files, its end, and `check` of a folder."""

import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import make_certificates
from tests.support.streams_process import ROOT, running

TEXT = {"content-type": "text/plain"}
A = "/v1/stream/a"


def program(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "streams", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_sigterm_ends_it_and_check_finds_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, tmp_path / "log") as process:
        httpx.put(process.url + A, headers=TEXT, content=b"one")
        busy = program("check", str(data))
        assert (busy.returncode, "in use" in busy.stderr) == (2, True)
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(60) == 0
    found = program("check", str(data))
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "ok")
    assert program("compact", str(data)).returncode == 0
    assert list((data / "wal").iterdir()) == []
    (file,) = (data / "data").iterdir()
    file.write_bytes(b"")
    found = program("check", str(data))
    assert (found.returncode, "FAULT S1 a" in found.stdout) == (1, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--prot", "1"), "--prot"),
        (("--port", "70000"), "--port"),
        (("--tls-cert-file", "x"), "--tls-key-file"),
        (("--api-key-file", "/nowhere"), "STREAMS_API_KEY_FILE"),
        (("check",), "usage"),
    ],
)
def test_a_wrong_setting_is_named(flags: tuple[str, ...], words: str) -> None:
    found = program(*flags)
    assert (found.returncode, words in found.stderr) == (2, True), found.stderr


def test_tls_and_keys_come_from_files(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o600)
    flags = ["--api-key-file", str(key), "--tls-cert-file", str(certificates.server_cert)]
    flags += ["--tls-key-file", str(certificates.server_key)]
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with running(tmp_path / "data", tmp_path / "log", *flags, tls=context) as process:
        client = httpx.Client(base_url=process.url, verify=context, trust_env=False)
        with client:
            assert client.put(A, headers=TEXT).status_code == 401
            bearer = {"authorization": "Bearer secret"}
            made = client.put(A, headers=TEXT | bearer)
            assert made.status_code == 201
            assert made.headers["location"] == process.url + A

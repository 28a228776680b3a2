"""The gateway's settings."""

from pathlib import Path

import pytest

from pkg.errors import ConfigError
from wsgateway.config import Config


def test_it_runs_with_nothing_set() -> None:
    config = Config.load([])
    assert config.public_url == "ws://127.0.0.1:8081/ws"
    assert config.ice_servers().of("ann", now=0, until=60) == ()


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("allowed-origins", "https://a.example/", "no origin"),
        ("allowed-origins", "a.example", "no origin"),
        ("allowed-origins", "*", "no origin"),
        ("ice-servers", "http://a", "no ICE server"),
        ("ice-servers", "stun:", "no ICE server"),
        ("public-url", "http://a", "ws://"),
        ("trusted-proxies", "10.0.0.0/99", "GATEWAY_TRUSTED_PROXIES"),
        ("max-hosts", "0", "GATEWAY_MAX_HOSTS"),
        ("id", "a/b", "GATEWAY_ID"),
    ],
)
def test_a_wrong_setting_is_named(flag: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.load([f"--gateway-{flag}", value])


def test_turn_needs_its_secret(tmp_path: Path) -> None:
    argv = ["--gateway-ice-servers", "stun:s:3478,turn:t:3478?transport=udp"]
    with pytest.raises(ConfigError, match="TURN_SECRET_FILE"):
        Config.load(argv).ice_servers()
    secret = tmp_path / "turn"
    secret.touch(mode=0o600)
    secret.write_text("north\n")
    servers = Config.load([*argv, "--gateway-turn-secret-file", str(secret)]).ice_servers()
    assert [s["urls"] for s in servers.of("ann", now=0, until=60)] == [
        ["stun:s:3478"],
        ["turn:t:3478?transport=udp"],
    ]


def test_origins_are_compared_in_lower_case() -> None:
    config = Config.load(["--gateway-allowed-origins", "https://A.example, http://b:1"])
    assert config.gateway_allowed_origins == ("https://a.example", "http://b:1")

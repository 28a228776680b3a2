"""Settings: where they come from, which is believed, and what a mistake is told."""

import os
from pathlib import Path

import pytest

import janusmanager.config
import mixer.config
import roommanager.config
from pkg.config import Settings, read_secret
from pkg.errors import ConfigError
from pkg.secrets import token_key


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):  # noqa: TID251 - to start from none
        if name.startswith("ONAIR_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "config", [roommanager.config.Config, janusmanager.config.Config, mixer.config.Config]
)
def test_every_daemon_starts_without_settings_and_explains_them(
    config: type[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert config.load([]).etcd_endpoints == ("http://127.0.0.1:2379",)
    with pytest.raises(SystemExit) as ended:
        config.load(["--help"])  # the secrets' files do not exist here
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "--etcd-endpoints" in told
    assert config.program in told


def test_flags_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "onair.toml"
    file.write_text('mixer_id = "file"\nmixer_capacity = 1\nlog_level = "error"\n')
    monkeypatch.setenv("ONAIR_CONFIG_FILE", str(file))
    monkeypatch.setenv("ONAIR_MIXER_CAPACITY", "2")
    monkeypatch.setenv("ONAIR_LOG_LEVEL", "warning")
    config = mixer.config.Config.load(["--log-level", "debug"])
    assert (config.mixer_id, config.mixer_capacity, config.log_level) == ("file", 2, "debug")


def test_a_misspelt_variable_is_an_error_that_knows_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONAIR_MIXER_CAPACTY", "3")
    with pytest.raises(ConfigError, match=r"did you mean ONAIR_MIXER_CAPACITY\?"):
        mixer.config.Config.load([])


def test_a_variable_like_no_other_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONAIR_ZZZZZZ", "3")
    with pytest.raises(ConfigError, match="no such setting"):
        mixer.config.Config.load([])


def test_variables_of_other_services_and_programs_may_stand_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONAIR_JANUS_MANAGER_CAPACITY", "3")
    monkeypatch.setenv("ONAIR_STATE_DIR", "/tmp/x")  # noqa: S108
    monkeypatch.setenv("PATH_OF_SOMEBODY", "1")
    mixer.config.Config.load([])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ONAIR_MIXER_CAPACITY", "many", "ONAIR_MIXER_CAPACITY (--mixer-capacity)"),
        ("ONAIR_MIXER_ID", "a/b", "use 1 to 64 of"),
        ("ONAIR_MIXER_ADDRESS", "localhost", "ONAIR_MIXER_ADDRESS"),
        ("ONAIR_ETCD_ENDPOINTS", "127.0.0.1:2379", "give http://host:port"),
        ("ONAIR_ETCD_ENDPOINTS", "", "give http://host:port"),
        ("ONAIR_LOG_LEVEL", "loud", "ONAIR_LOG_LEVEL"),
    ],
)
def test_a_wrong_value_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        mixer.config.Config.load([])
    assert words in str(caught.value)


def test_an_unknown_setting_in_the_file_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "onair.toml"
    file.write_text("mixer_capacty = 1\n")
    monkeypatch.setenv("ONAIR_CONFIG_FILE", str(file))
    with pytest.raises(ConfigError, match="MIXER_CAPACTY"):
        mixer.config.Config.load([])


@pytest.mark.parametrize("text", [None, "mixer_id = ["])
def test_a_file_that_is_missing_or_broken_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "onair.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("ONAIR_CONFIG_FILE", str(file))
    with pytest.raises(ConfigError, match="ONAIR_CONFIG_FILE"):
        mixer.config.Config.load([])


def test_no_name_for_the_seen_file_switches_it_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Settings.load([]).etcd_seen_file is None
    monkeypatch.setenv("ONAIR_ETCD_SEEN_FILE", "")
    assert Settings.load([]).etcd_seen_file is None
    monkeypatch.setenv("ONAIR_ETCD_SEEN_FILE", str(tmp_path / "seen"))
    assert Settings.load([]).etcd_seen_file == tmp_path / "seen"


def test_several_members_of_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONAIR_ETCD_ENDPOINTS", "http://a:1, https://b:2,")
    assert mixer.config.Config.load([]).etcd_endpoints == ("http://a:1", "https://b:2")


def test_a_mistake_ends_the_process_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONAIR_MIXER_CAPACITY", "-1")
    monkeypatch.setattr("sys.argv", ["mixer"])
    with pytest.raises(SystemExit) as ended:
        mixer.config.Config.load_or_exit()
    assert ended.value.code == 2
    assert "onair mixer: ONAIR_MIXER_CAPACITY" in capsys.readouterr().err


def secret(path: Path, value: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(value)
    path.chmod(mode)
    return path


def test_a_secret_is_read_without_its_newline(tmp_path: Path) -> None:
    found = read_secret(secret(tmp_path / "s", b"abc\n"), "etcd_password_file")
    assert found.get_secret_value() == b"abc"
    assert "abc" not in repr(found)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(secret(tmp_path / "s", b"abc", mode), "master_secret_file")


def test_a_secret_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ONAIR_MASTER_SECRET_FILE"):
        read_secret(tmp_path / "none", "master_secret_file")
    with pytest.raises(ConfigError, match="is empty"):
        read_secret(secret(tmp_path / "s", b"\n"), "master_secret_file")


def test_the_master_secret_has_32_bytes_or_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "master"
    monkeypatch.setenv("ONAIR_MASTER_SECRET_FILE", str(path))
    secret(path, b"x" * 31)
    with pytest.raises(ConfigError, match="holds 31 bytes") as caught:
        mixer.config.Config.load([]).master_secret()
    assert "xxx" not in str(caught.value)
    secret(path, b" " + b"x" * 30 + b"\t\n")
    assert len(mixer.config.Config.load([]).master_secret()) == 32, "random bytes may be blanks"


def test_tokens_are_signed_with_the_first_secret_and_verified_with_all(tmp_path: Path) -> None:
    master, fresh = tmp_path / "master", tmp_path / "fresh"
    for file, sign in ((master, b"m"), (fresh, b"f")):
        file.touch(mode=0o600)
        file.write_bytes(sign * 32)
    flags = ["--master-secret-file", str(master)]
    config = mixer.config.Config.load(flags)
    assert config.token_keys() == [token_key(b"m" * 32)]
    config = mixer.config.Config.load([*flags, "--token-secret-files", f"{fresh}, {master}"])
    assert config.token_keys() == [token_key(b"f" * 32), token_key(b"m" * 32)]
    fresh.write_bytes(b"f" * 31)
    with pytest.raises(ConfigError, match="fresh holds 31 bytes"):
        config.token_keys()
    fresh.unlink()
    with pytest.raises(ConfigError, match="ONAIR_TOKEN_SECRET_FILES"):
        config.token_keys()

"""The generated Janus configuration: what it refuses, and what it never shows."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli import janusconf
from cli.janusconf import JanusSettings
from pkg.errors import ConfigError

GOOD = JanusSettings("a" * 32, "b" * 32, 8188, 7188, 7088, (20_000, 20_249))


@pytest.mark.parametrize(
    "change",
    [
        {"admin_secret": "janusoverlord"},
        {"admin_key": ""},
        {"admin_key": "a" * 32},
        {"admin_secret": 'x"; admin_secret = "y' + "z" * 16},
        {"admin_secret": "a" * 32 + "\n"},
        {"server_name": 'a"'},
        {"address": "localhost"},
        {"ws_port": 0},
        {"ws_port": 70_000},
        {"ws_port": 7188},
        {"media_ports": (20_249, 20_000)},
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Janus's"):
        janusconf.render(replace(GOOD, **change))


def test_each_secret_is_in_one_file_and_never_in_the_repr() -> None:
    files = janusconf.render(GOOD)
    assert [name for name, text in files.items() if GOOD.admin_secret in text] == ["janus.jcfg"]
    holders = [name for name, text in files.items() if GOOD.admin_key in text]
    assert holders == ["janus.plugin.audiobridge.jcfg"]
    assert "aaaa" not in repr(GOOD)


def test_media_ports_are_split_without_overlap() -> None:
    files = janusconf.render(GOOD)
    assert '"20000-20124"' in files["janus.jcfg"]
    assert '"20125-20249"' in files["janus.plugin.audiobridge.jcfg"]


def test_files_are_for_the_owner_only_even_over_open_ones(tmp_path: Path) -> None:
    folder = tmp_path / "janus"
    folder.mkdir(mode=0o755)
    (folder / "janus.jcfg").write_text("stale!")
    (folder / "janus.jcfg").chmod(0o644)
    janusconf.write(folder, janusconf.render(GOOD))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}
    assert "stale!" not in (folder / "janus.jcfg").read_text()

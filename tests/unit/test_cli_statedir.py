"""The state dir: secrets made once and for us alone, one ``up`` at a time, endpoints."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli import endpoints
from cli.statedir import ROOT, SECRETS, StateDir, locked
from pkg.errors import ConfigError

HOLD = """
import sys, pathlib
from cli.statedir import StateDir, locked
with locked(StateDir(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir.at(tmp_path / "state")
    made.make()
    return made


def test_secrets_are_private_different_and_kept(state: StateDir) -> None:
    values = {name: state.secret(name).read_text() for name in SECRETS}
    assert len(set(values.values())) == len(SECRETS)
    assert all(len(value.strip()) >= 32 for value in values.values())
    assert all(stat.S_IMODE(state.secret(n).stat().st_mode) == 0o600 for n in SECRETS)
    state.make()
    assert {name: state.secret(name).read_text() for name in SECRETS} == values


def test_a_state_dir_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="--state-dir"):
        StateDir.at(file / "below").make()


def test_the_lock_names_its_holder_and_leaves_no_file(state: StateDir) -> None:
    with locked(state):
        with pytest.raises(ConfigError, match=f"pid {os.getpid()}"), locked(state):
            pass
        assert (state.path / "lock").exists()
    assert not (state.path / "lock").exists()


def test_the_lock_of_a_killed_holder_is_free(state: StateDir) -> None:
    argv = [sys.executable, "-P", "-c", HOLD, str(state.path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=str(holder.pid)), locked(state):
            pass
        holder.kill()
        holder.wait()
    with locked(state):
        assert (state.path / "lock").read_text().strip() == str(os.getpid())


def test_endpoints_are_private_and_read_back(state: StateDir) -> None:
    urls = ("http://a", "ws://g", "http://h", "http://e", "http://s", "http://j")
    record = endpoints.Endpoints(*urls, api_key="k", pids={"etcd": 1})
    endpoints.write(state.endpoints, record)
    assert stat.S_IMODE(state.endpoints.stat().st_mode) == 0o600
    assert endpoints.read(state.endpoints) == {
        "api": "http://a",
        "gateway": "ws://g",
        "hls": "http://h",
        "etcd": "http://e",
        "streams": "http://s",
        "janusAdmin": "http://j",
        "apiKey": "k",
        "pids": {"etcd": 1},
    }
    assert "k'" not in repr(record)


def test_without_endpoints_the_reader_is_told_to_run_up(state: StateDir) -> None:
    with pytest.raises(ConfigError, match=r"run \./onair up first"):
        endpoints.read(state.endpoints)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"api": 1}'])
def test_foreign_endpoints_are_refused(state: StateDir, text: str) -> None:
    state.endpoints.write_text(text)
    with pytest.raises(ConfigError, match=r"endpoints\.json"):
        endpoints.read(state.endpoints)

"""The ``./onair`` script on a machine that lacks things: what it installs, what it only names."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.statedir import ROOT

BASICS = ("bash", "cat", "chmod", "cut", "dirname", "env", "flock", "mkdir", "readlink", "rm")
MORE = ("sha256sum", "tail", "tee", "python3", "sh")
FAKE_APT = """#!/bin/sh
echo "apt-get $*" >>{log}
case "$*" in *install*) for p in etcd janus ffmpeg; do cp {bin}/sh {bin}/$p; done ;; esac
"""


@dataclass
class Machine:
    """A clone of the script, and a PATH with the bare necessities on it."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def has(self, name: str, script: str = "#!/bin/sh\n") -> None:
        (self.bin / name).unlink(missing_ok=True)  # never write through a link to the real one
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def has_venv(self) -> None:
        """One whose python only tells how it was called; stamped as made from the lock."""
        venv = self.folder / ".venv"
        (venv / "bin").mkdir(parents=True)
        tells = '#!/bin/sh\necho "ran $*"\nenv >"$HOME/env"\n'
        (venv / "bin" / "python").write_text(tells)
        (venv / "bin" / "python").chmod(0o755)
        lock = (self.folder / "requirements.lock").read_bytes()
        (venv / ".onair-requirements").write_text(hashlib.sha256(lock).hexdigest() + "\n")

    def onair(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "onair"), *args],
            env={"PATH": str(self.bin), "HOME": str(self.folder), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.bin.mkdir()
    for name in (*BASICS, *MORE):
        found = shutil.which(name)
        assert found is not None, name
        (made.bin / name).symlink_to(found)
    shutil.copy(ROOT / "onair", tmp_path / "onair")
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "requirements-dev.lock").write_text("# nothing else\n")
    return made


def test_what_is_there_is_not_installed_again(machine: Machine) -> None:
    machine.has_venv()
    done = machine.onair("rooms", "ls", "--json")
    assert (done.returncode, done.stdout) == (0, "ran -P -m cli rooms ls --json\n")
    assert done.stderr == ""


def test_what_python_compiles_is_kept_for_the_next_process(machine: Machine) -> None:
    machine.has_venv()
    assert machine.onair("rooms", "ls", PYTHONDONTWRITEBYTECODE="1").returncode == 0
    ours = dict(line.split("=", 1) for line in (machine.folder / "env").read_text().splitlines())
    assert ours["PYTHONPYCACHEPREFIX"] == str(machine.folder / ".onair-tools" / "pycache")
    assert "PYTHONDONTWRITEBYTECODE" not in ours


def test_without_install_missing_packages_are_named_with_their_command(machine: Machine) -> None:
    machine.has_venv()
    done = machine.onair("up", "--no-install")
    assert done.returncode == 3
    command = "apt-get install --no-install-recommends etcd-server janus ffmpeg"
    assert command in done.stderr
    assert ("sudo " + command in done.stderr) == (os.geteuid() != 0)
    assert not (machine.folder / ".onair-tools" / "install.log").exists()


def test_parts_that_run_elsewhere_are_not_asked_for(machine: Machine) -> None:
    machine.has_venv()
    machine.has("ffmpeg")
    done = machine.onair("up", "--no-install", "--etcd", "http://e:2379", "--janus=ws://j:7188")
    assert done.returncode == 0, done.stderr


def test_without_install_a_missing_venv_is_named(machine: Machine) -> None:
    done = machine.onair("--no-install", "rooms", "ls")
    assert done.returncode == 3
    assert "requirements.lock" in done.stderr


def test_a_changed_lock_is_noticed(machine: Machine) -> None:
    machine.has_venv()
    (machine.folder / "requirements.lock").write_text("# changed\n")
    assert machine.onair("rooms", "ls", "--no-install").returncode == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="the script would ask sudo, which is not faked")
def test_missing_packages_are_installed_once(machine: Machine) -> None:
    machine.has_venv()
    log = machine.folder / "apt.log"
    machine.has("cp", f'#!{shutil.which("sh")}\nexec {shutil.which("cp")} "$@"\n')
    machine.has("apt-get", FAKE_APT.format(log=log, bin=machine.bin))
    for name in ("tee", "chmod"):  # it would write /usr/sbin/policy-rc.d for a moment
        machine.has(name)
    done = machine.onair("up")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran -P -m cli up\n"
    assert "installing Debian packages: etcd-server janus ffmpeg ..." in done.stderr
    calls = log.read_text().splitlines()
    assert [call.split()[-3:] for call in calls] == [["etcd-server", "janus", "ffmpeg"]]
    machine.onair("up")
    assert log.read_text().splitlines() == calls


def test_no_committed_lock_names_a_host() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / lock).read_text()

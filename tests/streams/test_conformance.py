"""The official suite, on both stacks. Needs Node and `npm ci` in ``conformance/``; else skipped."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.streams_process import running

HERE = Path(__file__).parent / "conformance"
VITEST = HERE / "node_modules" / ".bin" / "vitest"
EXPECTED = 332

needs_node = pytest.mark.skipif(not VITEST.exists(), reason="npm ci was not run in conformance/")


@needs_node
@pytest.mark.parametrize("module", ["streams", "tests.support.streams_plain"])
def test_the_official_suite_passes(tmp_path: Path, module: str) -> None:
    flags = ("--long-poll-timeout", "0.5")
    with running(tmp_path / "data", tmp_path / "log", *flags, module=module) as process:
        settings = [f"CONFORMANCE_TEST_URL={process.url}", "NO_COLOR=1"]
        argv = ["env", *settings, str(VITEST), "run"]
        found = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=False)
    passed = re.search(r"Tests\s+(\d+) passed", found.stdout)
    assert re.findall(r"FAIL\s+(.*)", found.stdout + found.stderr) == []
    assert passed is not None
    assert int(passed[1]) == EXPECTED

"""Fixtures of suites that run on a fake Janus (virtual time) and on the real one.

Import them, and list them in ``__all__``. ``process`` is None for the fake.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import trio.testing

from tests.support.janus import RealJanus, running


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.janus)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> object:
    if kind == "real":
        return "asyncio"
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.fixture
def process(kind: str, tmp_path: Path) -> Iterator[RealJanus | None]:
    with running(tmp_path / "janus") if kind == "real" else nullcontext() as real:
        yield real

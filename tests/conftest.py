"""Virtual time for the controllers' tests: when every task sleeps, the clock jumps."""

import pytest
import trio.testing


@pytest.fixture
def anyio_backend() -> object:
    """Overridden by folders whose parts (grpc, WebSockets) need asyncio and real time."""
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})

"""Owns the etcd that a test run shares: ``python -m tests.support.etcd_guard FLAVOUR PID``.

Prints the server's URL, then waits until process PID is gone and ends the server.
"""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

from tests.support.etcd import EtcdServer


@contextlib.contextmanager
def container() -> Iterator[str]:
    """An etcd in a container of ``ONAIR_TEST_ETCD_IMAGE``, whatever its entrypoint."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    image = os.environ["ONAIR_TEST_ETCD_IMAGE"]  # any with etcd on its PATH
    command = (
        "etcd --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls "
        "http://0.0.0.0:2379 --logger zap --experimental-watch-progress-notify-interval=1s"
    )
    etcd = DockerContainer(image).with_command(command)
    etcd.ports[2379] = ("127.0.0.1", None)  # any free port, on loopback only
    with etcd.waiting_for(LogMessageWaitStrategy("serving")) as running:
        yield f"http://127.0.0.1:{running.get_exposed_port(2379)}"


@contextlib.contextmanager
def serving(flavour: str) -> Iterator[str]:
    if flavour == "container":
        with container() as url:
            yield url
    else:
        with EtcdServer(flavour) as server:
            yield server.url


def main(flavour: str, owner: int) -> None:
    gone = os.pidfd_open(owner)
    with serving(flavour) as url:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        select.select([gone], [], [])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

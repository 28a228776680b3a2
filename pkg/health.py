"""Readiness as a set of named blockers: can be lost again, and says why (``/readyz``).

>>> ready = Readiness("etcd")
>>> ready.blockers
{'etcd': 'not started'}
>>> ready.clear("etcd"); ready.ok
True
"""

from collections.abc import Mapping


class Readiness:
    def __init__(self, *names: str) -> None:
        self._blockers = dict.fromkeys(names, "not started")

    def block(self, name: str, reason: str) -> None:
        self._blockers[name] = reason

    def clear(self, name: str) -> None:
        self._blockers.pop(name, None)

    @property
    def ok(self) -> bool:
        return not self._blockers

    @property
    def blockers(self) -> Mapping[str, str]:
        return dict(self._blockers)

"""What the routes work with, built once by ``__main__``."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretBytes

from pkg.etcd.api import Etcd
from pkg.health import Readiness
from pkg.tokens import Tokens
from roommanager.assets import Pages
from roommanager.feed import Feed
from roommanager.history import History
from roommanager.hls import Hls
from roommanager.metrics import Metrics
from roommanager.pins import Hashing, Tries
from roommanager.view import View
from roommanager.vigil import Vigil
from roommanager.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Context:
    """``clock``: seconds since 1970, for tokens and the deadlines that operators set only."""

    etcd: Etcd
    view: View
    vigil: Vigil
    wishes: Wishes
    history: History
    hls: Hls
    feed: Feed
    pages: Pages
    tokens: Tokens
    tries: Tries
    hashing: Hashing
    metrics: Metrics
    readiness: Readiness
    api_key: SecretBytes
    master: SecretBytes
    public_url: str
    clock: Callable[[], int]
    room_id: Callable[[], str]
    salt: Callable[[], bytes]

    def is_api_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.api_key.get_secret_value())

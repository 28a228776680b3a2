"""The admin WebSocket of one Janus. Called by ``driver``."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from websockets.typing import Subprotocol

from pkg.janus import link
from pkg.janus.link import Address, Link
from pkg.janus.link import Limits as Limits

ADMIN_PROTOCOL = Subprotocol("janus-admin-protocol")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the admin API is, and what it asks for."""

    url: str
    admin_secret: str = field(repr=False)
    admin_key: str = field(repr=False)


def opened(access: Access, limits: Limits) -> AbstractAsyncContextManager[Link]:
    """Connect; raises JanusUnavailableError in words that say what to check."""
    address = Address(
        access.url,
        ADMIN_PROTOCOL,
        expected="Janus admin WebSocket (see admin_ws in janus.transport.websockets.jcfg)",
        advice="is ONAIR_JANUS_MANAGER_ADMIN_URL right, and Janus running?",
        credentials={"admin_secret": access.admin_secret},
    )
    return link.opened(address, limits)

"""The gateway's port: handshakes, and the pages of probes beside them.

A host is let in once path, origin, token and etcd's lock say so, in this order; what costs least
is asked first. Whoever is connected elsewhere already is let in only to be told so: a browser
shows a page nothing of a handshake that was refused.
"""

import json
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import anyio
import structlog
from ulid import ULID
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from pkg import keys
from pkg.errors import OnairError
from pkg.etcd.api import Etcd
from pkg.model import Host
from pkg.tokenbucket import Bucket
from pkg.tokens import Grant
from wsgateway.admission import PROTOCOL, RETRY_SECONDS, Admission, Asked, RefusedError, busy
from wsgateway.api import SessionLogic
from wsgateway.connection import Connection, Surroundings
from wsgateway.exchange import End
from wsgateway.hostsocket import Guest, HostSocket, ServedSocket, served_sockets
from wsgateway.limits import Limits
from wsgateway.lock import Claim
from wsgateway.rules import CLOSE

log = structlog.get_logger()

MAX_FRAME_BYTES = 64 * 1024
PING_SECONDS = 20.0
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
DRAIN_SECONDS = 1.5
SEND_BUFFER_BYTES = 64 * 1024  # else the kernel holds megabytes for a host who does not read
LOCKS_AT_ONCE = 64  # else a thousand who come at once would make each other's late
REFUSALS_PER_SECOND, REFUSALS_BURST = 10.0, 100  # logged; all are counted


@dataclass(frozen=True, slots=True)
class House:
    """What the gateway is, and whom it lets in.

    ``session`` makes a host's, whose lock's revision is its fence; ``now`` is RFC 3339.
    """

    gateway_id: str
    etcd: Etcd
    admission: Admission
    limits: Limits
    around: Surroundings
    session: Callable[[Grant, int], SessionLogic]
    now: Callable[[], str]


class Server:
    def __init__(self, house: House) -> None:
        self._house = house
        self._around = house.around
        self._open = False
        self._connections: set[Connection] = set()
        self._emptied = anyio.Event()
        self._locks = anyio.Semaphore(LOCKS_AT_ONCE)
        self._refusals = Bucket(REFUSALS_PER_SECOND, REFUSALS_BURST)

    @asynccontextmanager
    async def serving(self, bound: socket.socket) -> AsyncGenerator[None]:
        """Answer on a bound socket; nobody is let in before ``letting_in``."""
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        async with serve(
            self._handle,
            sock=bound,
            process_request=self._process,
            select_subprotocol=_select,
            subprotocols=[Subprotocol(PROTOCOL)],
            compression=None,
            server_header=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_size=MAX_FRAME_BYTES,
            create_connection=served_sockets(),
        ):
            yield

    @asynccontextmanager
    async def letting_in(self) -> AsyncGenerator[None]:
        """At its end all are sent away, their keys free before they are told."""
        self._open = True
        try:
            yield
        finally:
            self._open = False
            await self._around.presence.resign()
            for connection in list(self._connections):
                connection.end(End.STOPPING)
            with anyio.move_on_after(DRAIN_SECONDS):
                while self._connections:
                    await self._emptied.wait()

    # -- handshakes ------------------------------------------------------------------------

    async def _process(self, served: ServerConnection, request: Request) -> Response | None:
        assert isinstance(served, ServedSocket)  # noqa: S101 we made it
        served.heard()
        try:
            _check_there(served)
            if request.method != "GET":
                raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "method", "GET is all there is")
            page = await self._page(request.path)
            if page is not None:
                return page
            await self._admit(served, request)
        except RefusedError as refusal:
            self._tell_refusal(served, refusal)
            return _problem(refusal)
        return None

    async def _admit(self, served: ServedSocket, request: Request) -> None:
        """Raises RefusedError."""
        asked = self._house.admission.judge(request.path, request.headers)
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            raise RefusedError(HTTPStatus.UPGRADE_REQUIRED, "upgrade", "this is a WebSocket")
        self._check_open()
        limits = self._house.limits
        forwarded = request.headers.get_all("X-Forwarded-For")
        address = limits.address_of(served.peer, forwarded)
        limits.admit(address)
        served.when_lost(lambda: limits.leave(address))
        await self._take(served, asked)
        self._check_open()
        self._around.metrics.handshake(101)

    async def _take(self, served: ServedSocket, asked: Asked) -> None:
        """Raises RefusedError if etcd cannot be asked."""
        guest = self._guest(served, asked.grant)
        try:
            async with self._locks:
                _check_there(served)
                taken = await self._around.presence.take(guest.claim, takeover=asked.takeover)
        except OnairError as error:
            log.debug("host.not_locked", key=guest.claim.key, error=str(error))
            raise busy("etcd-unavailable", "etcd does not answer right now: try again") from None
        if not taken:
            guest.refused = End.ELSEWHERE

    def _guest(self, served: ServedSocket, grant: Grant) -> Guest:
        host = Host(
            room_id=grant.room_id,
            user_id=grant.user,
            gateway_id=self._house.gateway_id,
            connection=str(ULID()),
            token_id=grant.token_id,
            connected_at=self._house.now(),
        )
        guest = Guest(grant, Claim(keys.host(grant.room_id, grant.user), host, lambda: None))
        presence = self._around.presence
        guest.claim.lost = guest.lose
        served.guest = guest
        served.when_lost(lambda: presence.free(guest.claim))
        return guest

    def _check_open(self) -> None:
        if not self._open:
            raise busy("not-ready", "this gateway lets nobody in just now")

    def _tell_refusal(self, served: ServedSocket, refusal: RefusedError) -> None:
        self._around.metrics.handshake(refusal.status)
        if self._refusals.take(anyio.current_time()) == 0:
            log.info(
                "handshake.refused",
                status=int(refusal.status),
                why=refusal.why,
                peer=served.peer,
            )

    # -- those who came in -----------------------------------------------------------------

    async def _handle(self, served: ServerConnection) -> None:
        assert isinstance(served, ServedSocket)  # noqa: S101 we made it
        guest, sock = served.guest, HostSocket(served)
        if guest is None:
            return
        if guest.refused is not None:
            closing = CLOSE[guest.refused]
            self._around.metrics.closed(closing.code)
            await sock.close(closing.code, closing.words)
            return
        session = self._house.session(guest.grant, guest.claim.revision)
        connection = Connection(self._around, sock, session, guest.claim, guest.grant)
        guest.claim.lost = lambda: connection.end(End.TAKEN_OVER)
        self._connections.add(connection)
        if not self._open:
            connection.end(End.STOPPING)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._emptied.set()
                self._emptied = anyio.Event()

    # -- probes ----------------------------------------------------------------------------

    async def _page(self, target: str) -> Response | None:
        match target.partition("?")[0]:
            case "/healthz":
                return _json(HTTPStatus.OK, {"status": "ok"})
            case "/readyz":
                blockers = await self._blockers()
                status = HTTPStatus.SERVICE_UNAVAILABLE if blockers else HTTPStatus.OK
                return _json(status, {"ready": not blockers, "blockers": blockers})
            case "/metrics":
                presence = self._around.presence
                text = self._around.metrics.render(
                    presence.hosts(), holds_lease=presence.holds_lease
                )
                return _response(HTTPStatus.OK, "text/plain; version=0.0.4", text)
            case _:
                return None

    async def _blockers(self) -> dict[str, str]:
        """A key of ours is read as for any host, so that lost quorum and access are seen too."""
        found = {}
        if not self._open:
            found["hosts"] = "nobody is let in: it starts, or stops"
        if not self._around.presence.holds_lease:
            found["lease"] = "etcd does not know this gateway"
        if self._around.rooms.informer.broken_since is not None:
            found["cache"] = "the watch on etcd is broken; listing again"
        try:
            await self._house.etcd.get(keys.gateway(self._house.gateway_id))
        except OnairError as error:
            found["etcd"] = str(error)
        return found


def _check_there(served: ServedSocket) -> None:
    """Who hung up meanwhile needs no lock, and reads no answer. Raises RefusedError."""
    if served.is_lost:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "gone", "hung up during the handshake")


def _select(_served: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A token may stand among them; only our own name is ever answered."""
    return Subprotocol(PROTOCOL) if PROTOCOL in offered else None


def _problem(refusal: RefusedError) -> Response:
    """RFC 9457, as the room manager's."""
    document = {
        "type": f"urn:onair:problem:{refusal.code}",
        "title": refusal.status.phrase,
        "status": int(refusal.status),
        "detail": str(refusal),
        "code": refusal.code,
    }
    extra = {
        HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", str(RETRY_SECONDS)),
        HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", "Bearer"),
        HTTPStatus.METHOD_NOT_ALLOWED: ("Allow", "GET"),
        HTTPStatus.UPGRADE_REQUIRED: ("Upgrade", "websocket"),
    }.get(refusal.status)
    body = json.dumps(document).encode()
    return _response(refusal.status, "application/problem+json", body, extra)


def _json(status: HTTPStatus, document: object) -> Response:
    return _response(status, "application/json", json.dumps(document).encode())


def _response(
    status: HTTPStatus, media_type: str, body: bytes, extra: tuple[str, str] | None = None
) -> Response:
    headers = Headers()
    headers["Content-Type"] = media_type
    headers["Content-Length"] = str(len(body))
    headers["Cache-Control"] = "no-store"
    headers["Connection"] = "close"
    if extra is not None:
        headers[extra[0]] = extra[1]
    return Response(status.value, status.phrase, headers, body)

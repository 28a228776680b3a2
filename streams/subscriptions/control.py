"""The control interface over HTTP: a request in, an answer out (§6, §7)."""

import json

import anyio

from streams.app.answer import Answer
from streams.protocol.offsets import token
from streams.protocol.requests import Headers
from streams.subscriptions import addresses, requests, rules
from streams.subscriptions.model import PULL, WEBHOOK, Link, Subscription
from streams.subscriptions.refusals import Denied, bad_token
from streams.subscriptions.registry import Subscriptions
from streams.subscriptions.requests import KEYS, Target

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_KEYS = {"content-type": "application/jwk-set+json", "cache-control": "public, max-age=300"}
BEARER = ("callback", "ack", "release")  # open to whom the wake's token was given


class Control:
    """``public_url``: where this server is reached. ``loopback`` as in ``addresses.judge``."""

    def __init__(self, known: Subscriptions, public_url: str, *, loopback: bool) -> None:
        self._known = known
        self._public_url = public_url
        self._loopback = loopback

    async def answer(self, method: str, raw_path: str, headers: Headers, body: bytes) -> Answer:
        """Durable when it returns. Raises BrokenError."""
        try:
            found = self._answer(method, raw_path, headers, body)
        except Denied as denied:
            found = _denied(denied)
        await self._known.settled()
        return found

    def _answer(self, method: str, raw_path: str, headers: Headers, body: bytes) -> Answer:
        if raw_path == KEYS:
            _expect(method, "GET")
            return Answer(200, _KEYS, json.dumps(self._known.signing.jwks()).encode())
        target = requests.target(raw_path)
        if target.path is not None:
            _expect(method, "DELETE")
            self._known.unfollow(target.name, target.path)
            return _NOTHING
        if not target.action:
            return self._itself(method, target, body)
        _expect(method, "POST")
        return self._act(target, headers, requests.body(body))

    def _itself(self, method: str, target: Target, body: bytes) -> Answer:
        match method:
            case "PUT":
                return self._create(target, requests.body(body))
            case "GET":
                return self._told(200, self._known.find(target.name))
            case "DELETE":
                self._known.delete(target.name)
                return _NOTHING
            case _:
                raise _not_allowed("GET, PUT, DELETE")

    def _create(self, target: Target, body: requests.Body) -> Answer:
        config = requests.config(body)
        if config.url is not None:
            addresses.judge(config.url, loopback=self._loopback)
        one, new = self._known.create(target.name, config)
        return self._told(201 if new else 200, one)

    def _act(self, target: Target, headers: Headers, body: requests.Body) -> Answer:
        now = anyio.current_time()
        match target.action:
            case "streams":
                self._known.follow(target.name, requests.streams(body))
                return _NOTHING
            case "claim":
                return self._claimed(self._known.claim(target.name, requests.worker(body), now))
            case "release":
                self._known.release(target.name, _bearer(headers), requests.report(body))
                return _NOTHING
            case action:
                kind = WEBHOOK if action == "callback" else PULL
                report = requests.report(body)
                more = self._known.report(target.name, kind, _bearer(headers), report, now)
                return _json(200, {"ok": True, "next_wake": more})

    def _claimed(self, one: Subscription) -> Answer:
        """§7.2."""
        told = {
            "wake_id": one.wake.wake_id if one.wake else None,
            "generation": one.generation,
            "token": self._known.token(one),
            "streams": [found.line() for found in rules.infos(one, self._known.streams)],
            "lease_ttl_ms": one.config.lease_ttl_ms,
        }
        return _json(200, told)

    def _told(self, status: int, one: Subscription) -> Answer:
        """§6.3."""
        config = one.config
        told = {
            "id": one.name,
            "subscription_id": one.name,
            "type": config.type,
            "pattern": config.pattern,
            "streams": [self._link(one.links[path]) for path in sorted(one.links)],
            "webhook": self._webhook(config.url),
            "wake_stream": config.wake_stream,
            "lease_ttl_ms": config.lease_ttl_ms,
            "created_at": one.created_at,
            "status": one.status,
            "description": config.description,
        }
        return _json(status, told)

    def _link(self, link: Link) -> dict[str, str]:
        acked = rules.info(link, self._known.streams).acked
        return {"path": link.path, "link_type": link.kind, "acked_offset": token(acked)}

    def _webhook(self, url: str | None) -> dict[str, object] | None:
        if url is None:
            return None
        kid = self._known.signing.kid
        signing = {"alg": "ed25519", "kid": kid, "jwks_url": f"{self._public_url}{KEYS}"}
        return {"url": url, "signing": signing}


_NOTHING = Answer(204, {})


def needs_key(raw_path: str) -> bool:
    """Whether it is for who may write; reports have tokens of their own, and public keys are
    public.

    >>> [needs_key(KEYS + end) for end in ("", "x")]
    [False, True]
    >>> base = requests.SUBSCRIPTIONS
    >>> [needs_key(base + end) for end in ("a/ack", "ack", "a/claim", "a/streams/x/ack", "a/b/ack")]
    [False, True, True, True, True]
    """
    if raw_path == KEYS:
        return False
    try:
        return requests.target(raw_path).action not in BEARER
    except Denied:
        return True


def _expect(method: str, allowed: str) -> None:
    if method != allowed:
        raise _not_allowed(allowed)


def _not_allowed(allowed: str) -> Denied:
    return Denied(405, "INVALID_REQUEST", f"this knows {allowed}")


def _bearer(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise bad_token("the wake's token is needed as a bearer token")
    return value.strip()


def _json(status: int, told: object) -> Answer:
    return Answer(status, _JSON, json.dumps(told).encode())


def _denied(denied: Denied) -> Answer:
    error = {"code": denied.code, "message": denied.detail, **denied.facts}
    return _json(denied.status, {"error": error})

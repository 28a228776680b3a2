"""PUT, POST, DELETE and HEAD: requests in, answers out; the store does the work."""

from pkg.httpserver import Scope
from streams.app.answer import Answer
from streams.protocol import requests
from streams.protocol.offsets import token
from streams.protocol.requests import Append, Headers
from streams.store.state import Stream
from streams.store.store import Done, Store


async def put(store: Store, scope: Scope, name: str, headers: Headers, body: bytes) -> Answer:
    """§5.1. Raises Refusal."""
    done = await store.create(requests.create(name, headers, body))
    answer = {"Content-Type": done.stream.made.content_type, **_where(done)}
    if not done.new:
        return Answer(200, answer)
    return Answer(201, {"Location": _url(scope, headers), **answer})


def _url(scope: Scope, headers: Headers) -> str:
    path = scope["raw_path"].decode("latin-1")
    host = headers.get("host")
    return f"{scope['scheme']}://{host}{path}" if host else path


async def post(store: Store, name: str, headers: Headers, body: bytes) -> Answer:
    """§5.2, §5.3. Raises Refusal."""
    request = requests.append(name, headers, body)
    return posted(request, await store.append(request))


def posted(request: Append, done: Done) -> Answer:
    """200 tells a producer that this very request added data."""
    answer = _where(done)
    if done.place is not None:
        answer |= {"Producer-Epoch": str(done.place.epoch), "Producer-Seq": str(done.place.seq)}
    added = done.new and bool(request.body) and request.claim is not None
    return Answer(200 if added else 204, answer)


def _where(done: Done) -> dict[str, str]:
    closed = {"Stream-Closed": "true"} if done.closed else {}
    return {"Stream-Next-Offset": token(done.tail), **closed}


async def delete(store: Store, name: str) -> Answer:
    """§5.4. Raises Refusal."""
    await store.delete(name)
    return Answer(204, {})


def head(store: Store, name: str) -> Answer:
    """§5.5. Raises Refusal."""
    stream = store.look(name)
    closed = {"Stream-Closed": "true"} if stream.durable.closed else {}
    headers = {
        "Content-Type": stream.made.content_type,
        "Stream-Next-Offset": token(stream.durable.tail),
        "Cache-Control": "no-store",
        **_lifetime(stream),
        **closed,
    }
    return Answer(200, headers)


def _lifetime(stream: Stream) -> dict[str, str]:
    if stream.made.ttl is not None:
        return {"Stream-TTL": str(stream.made.ttl)}
    if stream.made.expires_at is not None:
        return {"Stream-Expires-At": stream.made.expires_at}
    return {}

"""Where streams live: paths below one root, in one spelling each (§12.2)."""

import re
from urllib.parse import quote, unquote_to_bytes

from streams.protocol.refusal import Refusal

ROOT = "/v1/stream/"
RESERVED = "__ds"  # §6: control interfaces, never a stream
MAX_BYTES = 1024
_PLAIN = re.compile(r"[A-Za-z0-9_.~:@/-]+")


def name(raw_path: str) -> str | None:
    """The stream a URL path names, escapes normalised; None if it lies outside the root.

    Segments are compared decoded, but an escaped slash is no separator.

    >>> name("/v1/stream/a/%62"), name("/v1/stream/a%2Fb"), name("/v1/stream/"), name("/x")
    ('a/b', 'a%2Fb', None, None)
    """
    if not raw_path.startswith(ROOT):
        return None
    if _PLAIN.fullmatch(raw_path, len(ROOT)):
        return raw_path[len(ROOT) :]  # nothing to normalise
    segments = raw_path[len(ROOT) :].split("/")
    found = "/".join(quote(unquote_to_bytes(segment), safe="~:@") for segment in segments)
    return found or None


def stream(raw_path: str) -> str:
    """``name`` of what must be a stream. Raises Refusal 404 or 400."""
    found = name(raw_path)
    if found is None or found.partition("/")[0] == RESERVED:
        raise Refusal(404, f"streams live below {ROOT}")
    if len(found) > MAX_BYTES:
        raise Refusal(400, f"a stream's path has {MAX_BYTES} bytes at most")
    return found

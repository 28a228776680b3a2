"""Content types: what a stream holds, and how two of them compare (§5.1, §9)."""

import re
from functools import lru_cache

DEFAULT = "application/octet-stream"
JSON = "application/json"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a name
_VALID = re.compile(rf"{_TOKEN}/{_TOKEN}[ \t]*(;[\x20-\x7e\t]*)?")


def clean(given: str | None) -> str | None:
    """
    >>> clean(" text/plain; charset=utf-8 "), clean("nonsense"), clean(None)
    ('text/plain; charset=utf-8', None, None)
    """
    found = (given or "").strip()
    return found if _VALID.fullmatch(found) else None


@lru_cache(maxsize=256)
def essence(content_type: str) -> str:
    """What is compared: lower case, without parameters.

    >>> essence("Text/Plain; charset=utf-8")
    'text/plain'
    """
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    return essence(content_type) == JSON


def is_text(content_type: str) -> bool:
    """Whether SSE carries it as it is; everything else goes as base64 (§5.8)."""
    return is_json(content_type) or essence(content_type).startswith("text/")

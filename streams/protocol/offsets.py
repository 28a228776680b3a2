r"""Offsets: positions in a stream as opaque, sortable tokens (§8).

A position is the count of stored bytes before it. A fork shares its source's positions. The form
is the reference server's, so that a token compares as text just as its position does as a number.

>>> token(42)
'0000000000000000_0000000000000042'
>>> position(token(42)), position("-1"), position("now")
(42, 0, None)
>>> for bad in ("", "1", "a,b", "0_42", "../x", "0000000000000000_000000000000004\u0662"):
...     try: position(bad)
...     except Refusal as refusal: print(refusal.status)
400
400
400
400
400
400
"""

import re

from streams.protocol.refusal import Refusal

START = "-1"
NOW = "now"
_TOKEN = re.compile(r"([0-9]{16})_([0-9]{16})")
# The reference's first number is always 0; a token with another one lies past every tail of ours.
BEYOND = 10**16


def token(position: int) -> str:
    return f"0000000000000000_{position:016d}"


def position(text: str) -> int | None:
    """Bytes before it; None stands for the tail as it is now. Raises Refusal 400."""
    if text == START:
        return 0
    if text == NOW:
        return None
    return exact(text)


def exact(text: str) -> int:
    """The position of a token this server gave out. Raises Refusal 400."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise Refusal(400, "the offset is no token of this server")
    return int(found[2]) + BEYOND * int(found[1])

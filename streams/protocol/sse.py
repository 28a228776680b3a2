r"""Server-sent events as the protocol frames them (§5.8): data, then always control.

Clients match the bytes: ``event: `` has a space, ``data:`` has none. Every line end of a payload
begins a new ``data:`` line, so that no payload can forge an event.

>>> data(b"a\r\nb\rc\n", "text/plain")
b'event: data\ndata:a\ndata:b\ndata:c\ndata:\n\n'
>>> data(b'{"x":1}\n2\n', "application/json")
b'event: data\ndata:[{"x":1},2]\n\n'
>>> data(b"\x00\xff", "image/png")
b'event: data\ndata:AP8=\n\n'
>>> control("7", "12", up_to_date=True, closed=False)
b'event: control\ndata:{"streamNextOffset":"7","streamCursor":"12","upToDate":true}\n\n'
>>> control("7", "12", up_to_date=True, closed=True)
b'event: control\ndata:{"streamNextOffset":"7","streamClosed":true,"upToDate":true}\n\n'
"""

import base64
import json
import re
from functools import lru_cache

from streams.protocol import jsonmode, media

_LINE_END = re.compile(rb"\r\n|\r|\n")


def data(payload: bytes, content_type: str) -> bytes:
    """One event with all of a stored range; a JSON one is a whole array."""
    if media.is_json(content_type):
        text = jsonmode.array(payload)
    elif media.is_text(content_type):
        text = _LINE_END.sub(b"\ndata:", payload)
    else:
        text = base64.b64encode(payload)
    return b"event: data\ndata:" + text + b"\n\n"


@lru_cache(maxsize=64)  # all readers at the tail are told the same
def control(next_offset: str, cursor: str, *, up_to_date: bool, closed: bool) -> bytes:
    """Where the reader stands; the last one of a closed stream has no cursor to come back with."""
    fields: dict[str, str | bool] = {"streamNextOffset": next_offset}
    fields |= {"streamClosed": True} if closed else {"streamCursor": cursor}
    if up_to_date:
        fields["upToDate"] = True
    return b"event: control\ndata:" + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"

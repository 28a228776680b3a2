r"""JSON mode: messages in, one array out, and no byte of a number changed (§9.1).

A message is stored as one line of the stream's file. A line end inside a JSON text can only be
white space between its parts (RFC 8259 §7), so a space takes its place; everything else, down to
the digits of a number, stays as it was sent. So messages are counted without being parsed.

>>> messages(b'{"a": 1.0}'), messages(b'[1e400, [2,\n3]]')
([b'{"a": 1.0}'], [b'1e400', b'[2, 3]'])
>>> stored(messages(b'[1,2]')), array(stored(messages(b'[1,2]'))), array(b"")
(b'1\n2\n', b'[1,2]', b'[]')
>>> for bad in (b"", b"{", b"NaN", b"[1,]", b"[1 2]", b"1 2", b"\xff", b"[" * 100_000):
...     try: messages(bad)
...     except Refusal as refusal: print(refusal.status, refusal.detail)
400 not JSON: Expecting value at character 0
400 not JSON: Expecting property name enclosed in double quotes at character 1
400 not JSON: NaN is no JSON number
400 not JSON: Expecting value at character 3
400 not JSON: a comma is missing at character 3
400 not JSON: there is more after the value at character 2
400 not JSON: it is not UTF-8
400 not JSON: it is nested too deeply
"""

import json
import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice

from streams.protocol.refusal import Refusal

END = b"\n"
MAX_MESSAGES = 100_000  # of one body; each costs time and memory of its own
_SPACE = re.compile(r"[ \t\r\n]*+")
_LINE_ENDS = str.maketrans("\r\n", "  ")


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


# Numbers are only looked at: as text they have no size limit and lose nothing.
_SCAN = json.JSONDecoder(parse_constant=_constant, parse_float=str, parse_int=str).raw_decode


def messages(body: bytes) -> list[bytes]:
    """What a body says: the elements of an array, or itself. Raises Refusal 400."""
    try:
        found = [_line(part) for part in islice(_parts(body.decode()), MAX_MESSAGES + 1)]
    except UnicodeDecodeError:
        raise _refuse("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _refuse(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _refuse("it is nested too deeply") from None
    except ValueError as error:
        raise _refuse(str(error)) from None
    if len(found) > MAX_MESSAGES:
        raise Refusal(413, f"a body may have {MAX_MESSAGES} messages at most")
    return found


def _refuse(why: str) -> Refusal:
    return Refusal(400, f"not JSON: {why}")


def _line(part: str) -> bytes:
    return part.translate(_LINE_ENDS).encode() if "\n" in part or "\r" in part else part.encode()


def _parts(text: str) -> Iterator[str]:
    begin = _skip(text, 0)
    if text[begin : begin + 1] == "[":
        end = yield from _elements(text, begin + 1)
    else:
        end = _value(text, begin)
        yield text[begin:end]
    _expect_end(text, end)


def _expect_end(text: str, end: int) -> None:
    end = _skip(text, end)
    if end != len(text):
        raise ValueError(f"there is more after the value at character {end}")


def _elements(text: str, at: int) -> Generator[str, None, int]:
    """The texts of an array's elements; returns where the array ends."""
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return at + 1
    while True:
        end = _value(text, at)
        yield text[at:end]
        end = _skip(text, end)
        if text[end : end + 1] == "]":
            return end + 1
        if text[end : end + 1] != ",":
            raise ValueError(f"a comma is missing at character {end}")
        at = _skip(text, end + 1)


def _value(text: str, at: int) -> int:
    end: int = _SCAN(text, at)[1]
    return end


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def stored(parts: Sequence[bytes]) -> bytes:
    """Messages as they lie in the file: each with a line end."""
    return END.join(parts) + END if parts else b""


def inner(data: bytes) -> bytes:
    """Stored messages with commas between them: a part of an array, as long as ``data`` is."""
    return data.replace(END, b",")


def array(data: bytes) -> bytes:
    """Stored messages as one array; one byte longer than ``data``, or two if there are none."""
    return b"[" + inner(data[:-1]) + b"]"


def size(stored_bytes: int) -> int:
    """
    >>> all(size(len(d)) == len(array(d)) for d in (b"", b"1\\n", b"1\\n22\\n"))
    True
    """
    return stored_bytes + 1 if stored_bytes else 2

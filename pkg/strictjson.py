r"""JSON from strangers: what Python's parser lets through is refused (facts.md).

RFC 8259 leaves duplicate names, NaN, depth and lone surrogates to the reader; here each is a
MalformedError with words for a person.

>>> loads(b'{"a": [1, null]}')
{'a': [1, None]}
>>> texts = [b'{"a":1,"a":2}', b"NaN", b"[1e400]", b"[" * 100_000, b'"\\ud800"', b"\xff", b""]
>>> for bad in [*texts, b"9" * 5000]:
...     try: loads(bad)
...     except MalformedError as error: print(error)
the name 'a' stands twice in one object
NaN is no JSON number
a number is too large
nested deeper than 32 levels
a string holds half of a surrogate pair
not UTF-8
not JSON: Expecting value at character 0
a number has too many digits
"""

import json
import math
import re
from typing import Any

from pkg.errors import OnairError

MAX_DEPTH = 32
# Possessive, and an unclosed string runs to the end: time stays linear whatever the text.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class MalformedError(OnairError):
    """The text is not JSON as this house reads it."""


def loads(data: bytes) -> Any:
    """Parse; raises MalformedError, and nothing else, on any input."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None
    _check_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        raise MalformedError("a number has too many digits") from None
    _check_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedError(f"the name {name[:64]!r} stands twice in one object")
        found[name] = value
    return found


def _constant(name: str) -> float:
    raise MalformedError(f"{name} is no JSON number")


def _float(digits: str) -> float:
    """1e400 is well-formed, but would be infinity here, and no JSON any more on the way out."""
    found = float(digits)
    if not math.isfinite(found):
        raise MalformedError("a number is too large")
    return found


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _STRING.sub("", text):
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > MAX_DEPTH:
            raise MalformedError(f"nested deeper than {MAX_DEPTH} levels")


def _check_text(value: Any) -> None:
    match value:
        case str():
            if re.search("[\ud800-\udfff]", value):
                raise MalformedError("a string holds half of a surrogate pair")
        case dict():
            for name, inner in value.items():
                _check_text(name)
                _check_text(inner)
        case list():
            for inner in value:
                _check_text(inner)
        case _:
            pass

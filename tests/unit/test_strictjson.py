"""Strict JSON: what goes in comes out; anything else is MalformedError, in linear time."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pkg.strictjson import MAX_DEPTH, MalformedError, loads

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars.filter(lambda v: not (isinstance(v, float) and math.isinf(v))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
@example(b'{"a": 1e400}')
@example(b"\xef\xbb\xbf{}")
@example(b'{"\\ud800": 1}')
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_json_or_malformed(data: bytes) -> None:
    try:
        value = loads(data)
    except MalformedError:
        return
    json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize("text", [b"[1e400]", b"[-1e400]", b'{"a": 1e999999999}'])
def test_a_number_beyond_floats_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError, match="too large"):
        loads(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b'[{"', b'a"'])
def test_hostile_quoting_costs_linear_time(unit: bytes) -> None:
    """Quadratic time would need 16 s for the first of these."""
    with pytest.raises(MalformedError):
        loads((b'"' + unit * (64 * 1024))[: 64 * 1024])


def test_depth_counts_brackets_outside_strings_only() -> None:
    assert loads(json.dumps(["[" * 1000 + '"']).encode()) == ["[" * 1000 + '"']
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(MalformedError, match="deeper"):
        loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))

"""JSON-RPC frames and the places of their answers (wsgateway/rpc.py, answers.py)."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsgateway.answers import Desk
from wsgateway.rpc import MAX_BATCH, MAX_ID, Call, Wrong, answer, dump, read
from wsgateway.rules import CLOSE, MESSAGES, METHODS, Code, Fault

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
IDS = st.none() | st.integers() | st.text(max_size=MAX_ID) | st.floats(allow_nan=False)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": IDS | JSON,
        "method": st.sampled_from([*METHODS]) | JSON,
        "params": JSON,
        "more": JSON,
    },
)


def _faults(text: str) -> list[tuple[Any, int, str]]:
    found = [call for call in read(text).calls if isinstance(call, Wrong)]
    return [(wrong.id, int(wrong.fault.code), wrong.fault.words) for wrong in found]


@given(st.text(st.characters(codec=None)) | JSON.map(json.dumps) | MESSAGE.map(json.dumps))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_frame(text: str) -> None:
    frame = read(text)
    assert frame.weight >= 1
    for call in frame.calls:
        if isinstance(call, Call):
            assert call.wants_answer or call.id is None
        else:
            dump(answer(call.id, call.fault)).encode()


@given(IDS, st.sampled_from([*METHODS]), st.dictionaries(st.text(), st.integers()))
def test_a_request_comes_as_it_was_sent(call_id: Any, method: str, params: dict[str, int]) -> None:
    try:
        text = json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})
        text.encode()
        wanted = (Call(method, params, call_id, wants_answer=True),)
        assert read(text).calls == wanted or _faults(text)[0][1] == -32700  # half surrogates
    except ValueError:
        assert call_id in (float("inf"), float("-inf"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", (None, -32700)),
        ('{"id": 1, "id": 2, "method": "ping"}', (None, -32700)),
        ('{"id": 1, "method": "ping", "params": {"x": NaN}}', (None, -32700)),
        ("[" * 100, (None, -32700)),
        ("null", (None, -32600)),
        ("[]", (None, -32600)),
        ('{"id": [], "method": "ping"}', (None, -32600)),
        ('{"id": true, "method": "ping"}', (None, -32600)),
        (json.dumps({"id": "x" * (MAX_ID + 1), "method": "ping"}), (None, -32600)),
        ('{"id": 4, "method": null}', (4, -32600)),
        ('{"id": 4, "result": {}}', (4, -32600)),
        ('{"id": 4, "method": "ping", "jsonrpc": 2.0}', (4, -32600)),
        ('{"id": 4, "method": "ping", "janus": "destroy"}', (4, -32600)),
        ('{"id": 4, "method": "ping", "params": []}', (4, -32602)),
        (json.dumps([{"method": "ping"}] * (MAX_BATCH + 1)), (None, -32600)),
    ],
)
def test_what_is_no_request_is_answered_with_its_fault(text: str, fault: tuple[Any, int]) -> None:
    assert [found[:2] for found in _faults(text)] == [fault]


def test_a_missing_version_is_forgiven() -> None:
    (call,) = read('{"id": 1.5, "method": "ping"}').calls
    assert call == Call("ping", {}, 1.5, wants_answer=True)


def test_a_batch_weighs_as_many_as_it_holds() -> None:
    frame = read('[{"method": "ping"}, 7]')
    assert (frame.is_batch, frame.weight, len(frame.calls)) == (True, 2, 2)
    assert read(json.dumps([7] * 500)).weight == 500


# --- answers ------------------------------------------------------------------------------

FRAMES = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=MAX_BATCH)
)


@given(FRAMES, st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=100, deadline=None)
def test_each_request_gets_one_answer_and_a_batch_one_text(
    frames: list[list[tuple[int, bool]]],
    rng: Any,
    single: bool,
) -> None:
    """In whatever order they are settled; notifications get none."""
    desk, replies, texts, asked = Desk(), [], list[str](), Counter[Any]()
    for frame in frames:
        calls = [{"method": "ping"} | ({"id": call_id} if asks else {}) for call_id, asks in frame]
        asked.update(call["id"] for call in calls if "id" in call)
        for message in calls if single else [calls]:
            replies += desk.open(read(json.dumps(message)))
    rng.shuffle(replies)
    for _, reply in replies:
        text = desk.settle(reply, {})
        texts += [text] if text else []
    answers = [json.loads(text) for text in texts]
    assert all(isinstance(one, dict if single else list) for one in answers)
    flat = answers if single else [one for batch in answers for one in batch]
    assert Counter(one["id"] for one in flat) == asked
    again = desk.open(read(json.dumps([{"id": n, "method": "ping"} for n in range(4)])))
    assert all(isinstance(call, Call) for call, _ in again), "no id is in flight any more"


def test_an_id_in_flight_is_refused_until_its_answer_is_out() -> None:
    desk = Desk()
    frame = read('{"id": 1, "method": "ping"}')
    ((_, first),) = desk.open(frame)
    ((wrong, double),) = desk.open(read('{"id": 1.0, "method": "ping"}'))
    assert isinstance(wrong, Wrong)
    assert wrong.fault.code == Code.INVALID_REQUEST
    assert desk.settle(double, wrong.fault)
    assert isinstance(desk.open(frame)[0][0], Wrong), "the refused one does not free the id"
    assert desk.settle(first, {})
    assert isinstance(desk.open(frame)[0][0], Call)


def test_in_a_batch_an_id_is_in_flight_until_the_batch_is_answered() -> None:
    desk = Desk()
    batch = desk.open(read('[{"id": 1, "method": "ping"}, {"id": 2, "method": "join"}]'))
    assert desk.settle(batch[0][1], "pong") is None
    assert isinstance(desk.open(read('{"id": 1, "method": "ping"}'))[0][0], Wrong)
    text = desk.settle(batch[1][1], {})
    assert text is not None
    assert [one["id"] for one in json.loads(text)] == [1, 2]


# --- rules --------------------------------------------------------------------------------


def test_each_code_has_its_name_and_each_close_a_reason_that_fits() -> None:
    assert set(MESSAGES) == set(Code)
    assert len(set(MESSAGES.values())) == len(Code)
    assert all(len(closing.words.encode()) <= 123 for closing in CLOSE.values())
    fault = Fault(Code.NOT_JOINED, "join first")
    assert fault.as_json() == {
        "code": -32011,
        "message": "not-joined",
        "data": {"detail": "join first"},
    }

"""Janus's messages: no text and no shape can break the reader of either protocol."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.janus import wire
from pkg.janus.wire import Failure, MalformedReplyError

words = st.text(max_size=5)
plain = st.none() | st.booleans() | st.integers() | words
json_values = plain | st.lists(plain, max_size=2) | st.dictionaries(words, plain, max_size=2)
messages = st.dictionaries(
    st.sampled_from(("transaction", "janus", "response", "error", "error_code", "plugindata")),
    json_values | st.fixed_dictionaries({"data": json_values}),
)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_a_text_is_an_object_or_malformed(text: str | bytes) -> None:
    try:
        assert isinstance(wire.read(text), dict)
    except MalformedReplyError:
        return


def test_a_deep_text_is_malformed() -> None:
    with pytest.raises(MalformedReplyError):
        wire.read("[" * 200_000)


@settings(deadline=None)
@given(messages)
def test_a_message_is_a_reply_or_malformed(message: dict[str, Any]) -> None:
    try:
        reply = wire.reply_of(message)
    except MalformedReplyError:
        return
    assert reply.failure is None or reply.body == {}


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ({"janus": "error", "error": {"code": 458, "reason": "No"}}, Failure(458, "No", core=True)),
        (
            {"janus": "success", "response": {"error_code": 485, "error": "No"}},
            Failure(485, "No", core=False),
        ),
        (
            {"janus": "event", "plugindata": {"data": {"error_code": 485, "error": "No"}}},
            Failure(485, "No", core=False),
        ),
        (
            {"janus": "success", "plugindata": {"data": {"error_code": 489, "error": "No"}}},
            Failure(489, "No", core=False),
        ),
    ],
)
def test_a_failure_is_found_wherever_janus_puts_it(message: wire.Body, failure: Failure) -> None:
    assert wire.reply_of(message | {"transaction": "1"}).failure == failure


def test_no_request_changes_its_transaction_or_credentials() -> None:
    request = {"janus": "ping", "transaction": "theirs", "admin_secret": "theirs"}
    assert wire.read(wire.write(request, "7", {"admin_secret": "ours"})) == {
        "janus": "ping",
        "transaction": "7",
        "admin_secret": "ours",
    }

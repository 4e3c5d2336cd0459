"""The bytes of a request: JSON to some readers of the API server, YAML to others."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace.clients import kube


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_every_text_is_the_same_as_json_and_as_yaml(text: str) -> None:
    sent = kube.encode({text: [text]})
    assert json.loads(sent) == {text: [text]}
    assert yaml.safe_load(sent) == {text: [text]}


@pytest.mark.parametrize("text", ["\U0001f600", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\\ud83d\\ude00", "\x00"])
def test_no_surrogate_pair_and_nothing_unprintable_is_sent(text: str) -> None:
    sent = kube.encode({"text": text}).decode()
    assert yaml.safe_load(sent) == {"text": text}
    assert text == "\\ud83d\\ude00" or "\\ud83d" not in sent


def test_what_no_encoding_can_say_is_escaped() -> None:
    assert kube.encode({"text": "\ud83d"}) == b'{"text":"\\ud83d"}'

"""JSON lines: every pair survives, and every bad line is refused in words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.client.command.lines import BadLine, decode_line, encode_line
from metastore.client.keys import prefix_range


@given(st.binary(min_size=1), st.binary())
def test_any_pair_survives_the_way_out_and_back(key: bytes, value: bytes) -> None:
    line = encode_line(key, value)
    assert decode_line(line) == (key, value)
    assert b"\n" not in line
    assert encode_line(*decode_line(line)) == line


def test_text_stays_readable_and_other_bytes_become_base64() -> None:
    assert encode_line("ключ".encode(), b"1") == '{"key":"ключ","value":"1"}'.encode()
    assert encode_line(b"\xff", b"\xfe\n") == b'{"key_base64":"/w==","value_base64":"/go="}'
    assert encode_line(b"a", None) == b'{"key":"a"}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ('{"key": "a"}', "needs one of value and value_base64"),
        ('{"value": "a"}', "needs one of key and key_base64"),
        ('{"key": "a", "key_base64": "YQ==", "value": "1"}', "needs one of key"),
        ('{"key": "a", "value": 1}', "value is not a string"),
        ('{"key": "", "value": "1"}', "the key is empty"),
        ('{"key": "a", "value": "1", "ttl": 3}', "unknown field 'ttl'"),
        ('{"key": "a", "key": "b", "value": "1"}', "twice"),
        ('{"key_base64": "Y", "value": "1"}', "not base64"),
        ('{"key_base64": "Y Q==", "value": "1"}', "not base64"),
        ('{"key_base64": "é", "value": "1"}', "not base64"),
        ('{"key": "\\ud800", "value": "1"}', "surrogate"),
    ],
)
def test_a_line_that_is_no_pair_is_refused_in_words(line: str, words: str) -> None:
    with pytest.raises(BadLine, match=words):
        decode_line(line.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadLine, match="not JSON"):
        decode_line(b'{"key": "\xff", "value": "1"}')


@given(st.binary(), st.binary())
def test_the_range_of_a_prefix_holds_exactly_the_keys_that_start_with_it(
    prefix: bytes, key: bytes
) -> None:
    start, end = prefix_range(prefix)
    is_within = start <= key and (end == b"\0" or key < end)
    # The empty key is no key, so all keys begin at the smallest one byte key.
    assert is_within == (key.startswith(prefix) and key >= start)


def test_lines_are_plain_json() -> None:
    assert json.loads(encode_line(b'"\\\x00', b"\x1f")) == {"key": '"\\\x00', "value": "\x1f"}

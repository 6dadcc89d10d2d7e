"""JSON as etcd's gateway takes it, and values out of a body that comes in pieces."""

from typing import Any

import pytest

from metastore.api.web.json_text import (
    UNFINISHED,
    Fraction,
    JsonStream,
    Malformed,
    first_value,
    text_of,
)

TEXT = '{"a": "x{\\"}[\\\\", "b": [1, {"c": null}]}'
VALUE = {"a": 'x{"}[\\', "b": [1, {"c": None}]}


@pytest.mark.parametrize("text", ["", "  ", "\r\n\t"])
def test_nothing_is_no_value(text: str) -> None:
    assert first_value(text) is None


def test_what_follows_the_first_value_is_not_looked_at() -> None:
    assert first_value(f" {TEXT} trash") == VALUE


@pytest.mark.parametrize("text", ["{", '{"a"', '{"a":', '{"a":"b', '{"a":1 '])
def test_a_value_without_its_end_is_told_as_such(text: str) -> None:
    with pytest.raises(Malformed, match=UNFINISHED):
        first_value(text)


@pytest.mark.parametrize(
    "text", ["trash", "{'a':1}", '{"a":NaN}', "{]", '{"a":Infinity}', "\ufeff{}"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        first_value(text)


def test_brackets_without_an_end_to_their_depth_are_refused() -> None:
    with pytest.raises(Malformed):
        first_value("[" * 100_000)


def test_a_number_with_more_digits_than_python_takes_is_refused() -> None:
    with pytest.raises(Malformed):
        first_value("9" * 10_000)


@pytest.mark.parametrize("text", ["1.0", "1e0", "-0.5"])
def test_a_number_that_is_no_integer_stays_what_was_written(text: str) -> None:
    value = first_value(text)
    assert isinstance(value, Fraction)
    assert value == text


def test_bytes_that_are_no_utf_8_become_a_sign_for_it() -> None:
    assert first_value(text_of(b'{"a":"\xff"}')) == {"a": "\ufffd"}


def values_of(stream: JsonStream, *pieces: str) -> list[Any]:
    return [value for piece in pieces for value in stream.add(piece)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_values_come_out_of_pieces_of_any_size(size: int) -> None:
    text = f" {TEXT}{TEXT}\n null {{}}\r\n{TEXT}"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    stream = JsonStream()
    assert values_of(stream, *pieces) == [VALUE, VALUE, None, {}, VALUE]
    stream.finish()


def test_a_value_is_given_as_soon_as_it_is_complete() -> None:
    stream = JsonStream()
    assert values_of(stream, '{"a":1}{"b"') == [{"a": 1}]
    assert stream.size == len('{"b"')
    assert values_of(stream, ":2}") == [{"b": 2}]
    assert stream.size == 0


@pytest.mark.parametrize("text", ["trash", "5", "[]", '"x"', "true", "nil", "}", "\ufeff{}"])
def test_a_message_begins_as_an_object(text: str) -> None:
    with pytest.raises(Malformed):
        values_of(JsonStream(), text)


@pytest.mark.parametrize("text", ["{]", "{'a':1}", '{"a":NaN}'])
def test_an_object_that_is_none_is_refused_at_its_end(text: str) -> None:
    with pytest.raises(Malformed):
        values_of(JsonStream(), text)


@pytest.mark.parametrize("text", ["{", "nul", '{"a":"}'])
def test_a_body_that_ends_within_a_value_is_refused(text: str) -> None:
    stream = JsonStream()
    assert values_of(stream, text) == []
    with pytest.raises(Malformed, match=UNFINISHED):
        stream.finish()


def test_a_long_value_in_small_pieces_is_looked_at_once() -> None:
    looked_at = 0

    class Counted(str):
        def __getitem__(self, key: Any) -> str:
            nonlocal looked_at
            found = super().__getitem__(key)
            looked_at += len(found)
            return found

    stream = JsonStream()
    pieces = [Counted('{"a":"')] + [Counted("x" * 10)] * 1000
    assert values_of(stream, *pieces) == []
    assert stream.size == 10_006
    assert looked_at < 3 * stream.size

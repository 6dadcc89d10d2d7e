"""The words of `metastore txn`: what they mean, and what is said about those without a meaning."""

import pytest

from metastore.client import ops, value, version
from metastore.client.command.txn_words import (
    BadWords,
    parse_condition,
    parse_lines,
    parse_operation,
)
from metastore.client.comparisons import create_revision, lease_of, mod_revision


def test_every_kind_of_condition() -> None:
    assert parse_condition("value a = 'two words'") == (value("a") == b"two words")
    assert parse_condition("value a == 1") == (value("a") == b"1")
    assert parse_condition("version a > 0") == (version("a") > 0)
    assert parse_condition("create a < 3") == (create_revision("a") < 3)
    assert parse_condition("mod a != 7") == (mod_revision("a") != 7)
    assert parse_condition("lease a = ff") == (lease_of("a") == 255)
    assert parse_condition("value \udcff = \udcfe") == (value(b"\xff") == b"\xfe")


def test_every_kind_of_operation() -> None:
    assert parse_operation("put a 'b c'") == ops.put("a", "b c")
    assert parse_operation("put a b --lease 1f") == ops.put("a", "b", lease=31)
    assert parse_operation("get a") == ops.get("a")
    assert parse_operation("get a/ --prefix") == ops.range("a/", "a0")
    assert parse_operation("del a") == ops.delete("a")
    assert parse_operation("del '' --prefix") == ops.delete(b"\0", b"\0")


def test_lines_are_a_transaction() -> None:
    found = parse_lines(
        "# a job begins\nif value a = 1\n\n  then put a 2\nthen del b\nelse get a\n"
    )
    assert found.conditions == [value("a") == b"1"]
    assert found.then == [ops.put("a", "2"), ops.delete("b")]
    assert found.otherwise == [ops.get("a")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("if value a", "line 1: 'value a' is no condition; write 'value KEY = TEXT'"),
        ("if value a ~ b", "is no condition"),
        ("if size a = 1", "is no condition"),
        ("\nif version a = x", "line 2: 'x' is no number; a version is compared with one"),
        ("if lease a = xyz", "'xyz' is no lease"),
        ("then put a", "is no operation; write 'put KEY VALUE"),
        ("then put a b --lease -1", "'-1' is no lease"),
        ("then put a 'b", "cannot be split into words: No closing quotation"),
        ("when value a = 1", "line 1: begins with 'when'; lines begin with if, then or else"),
    ],
)
def test_what_has_no_meaning_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(BadWords) as caught:
        parse_lines(text)
    assert words in str(caught.value)

"""Pending proposals: every waiter ends, and nobody gets another entry's answer."""

import pytest

from metastore.node.proposals import (
    ENTRY_BYTES_MAX,
    PendingProposals,
    Request,
    may_be_read,
    split_by_size,
)
from metastore.transport import schema


def request_of(size: int, request_id: int = 0) -> Request:
    return Request(b"client", request_id, b"x" * size)


def test_waiters_of_a_committed_entry_are_theirs_when_the_term_matches() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1), (b"b", 2)])
    assert pending.take(7, 3) == ([(b"a", 1), (b"b", 2)], True)
    assert len(pending) == 0


def test_waiters_learn_that_another_terms_entry_took_their_index() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1)])
    assert pending.take(7, 4) == ([(b"a", 1)], False)


def test_an_entry_nobody_waits_for_has_no_waiters() -> None:
    assert PendingProposals().take(7, 3) == ((), False)


def test_taking_all_leaves_none_waiting() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1)])
    pending.add(8, 3, [(b"b", 2)])
    assert sorted(pending.take_all()) == [(b"a", 1), (b"b", 2)]
    assert pending.take_all() == []


def test_a_turn_is_cut_into_entries_below_the_limit_in_order() -> None:
    half = ENTRY_BYTES_MAX // 2
    requests = [request_of(half, n) for n in range(5)]
    groups = list(split_by_size(requests))
    assert [len(group) for group in groups] == [2, 2, 1]
    assert [r.request_id for group in groups for r in group] == [0, 1, 2, 3, 4]


def test_a_request_above_the_limit_travels_alone() -> None:
    requests = [request_of(10), request_of(ENTRY_BYTES_MAX + 1), request_of(10)]
    assert [len(group) for group in split_by_size(requests)] == [1, 1, 1]


def test_no_requests_make_no_entry() -> None:
    assert list(split_by_size([])) == []


@pytest.mark.parametrize("count", [1, 15, 16, 70_000])
def test_a_range_first_may_be_a_read_whatever_the_count(count: int) -> None:
    assert may_be_read(schema.encode_request([schema.range_(b"k")] * count))


def test_a_put_first_is_surely_no_read() -> None:
    assert not may_be_read(schema.encode_request([schema.put(b"k", b"v"), schema.range_(b"k")]))


@pytest.mark.parametrize("junk", [b"", b"\x91", b"\x00", b"\xc0\xc0", b"\xdc\x00", b"\xdd"])
def test_junk_is_no_read_and_no_error(junk: bytes) -> None:
    assert not may_be_read(junk)

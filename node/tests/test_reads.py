"""Linearizable reads wait for a confirmation that began after they arrived (§6.4)."""

import pytest

from metastore.node import reads as pending_reads
from metastore.node.proposals import Request
from metastore.node.reads import READ_RETRY_TICKS, READ_TIMEOUT_TICKS, PendingReads


def read(name: str) -> Request:
    return Request(name.encode(), 1, b"")


def names(requests: list[Request]) -> list[str]:
    return [request.identity.decode() for request in requests]


def asked(reads: PendingReads, tick: int = 0) -> bytes:
    context = reads.to_ask(tick)
    if context is None:
        raise AssertionError("nothing was asked")
    return context


def test_all_reads_of_a_turn_share_one_read_index() -> None:
    reads = PendingReads()
    reads.add(read("a"), 0)
    reads.add(read("b"), 0)
    reads.confirm(asked(reads), 5)
    assert names(reads.take_ready(5)) == ["a", "b"]


def test_a_read_waits_until_its_index_is_applied_here() -> None:
    reads = PendingReads()
    reads.add(read("a"), 0)
    reads.confirm(asked(reads), 5)
    assert reads.take_ready(4) == []
    assert names(reads.take_ready(5)) == ["a"]


def test_a_read_that_arrives_later_is_not_served_by_an_earlier_confirmation() -> None:
    reads = PendingReads()
    reads.add(read("early"), 0)
    context = asked(reads)
    reads.add(read("late"), 0)
    assert reads.to_ask(0) is None  # one at a time
    reads.confirm(context, 5)
    assert names(reads.take_ready(9)) == ["early"]
    reads.confirm(context, 5)  # the same answer again, late
    assert reads.take_ready(9) == []
    reads.confirm(asked(reads), 6)
    assert names(reads.take_ready(9)) == ["late"]


def test_an_unanswered_question_is_asked_again_under_a_new_name() -> None:
    reads = PendingReads()
    reads.add(read("a"), 0)
    first = asked(reads, 0)
    assert reads.to_ask(READ_RETRY_TICKS - 1) is None
    second = asked(reads, READ_RETRY_TICKS)
    assert second != first
    reads.confirm(first, 3)  # a late answer to the first: only the second counts now
    assert reads.take_ready(9) == []
    reads.confirm(second, 4)
    assert names(reads.take_ready(4)) == ["a"]


def test_reads_without_a_quorum_end() -> None:
    reads = PendingReads()
    reads.add(read("asked"), 0)
    asked(reads)
    reads.add(read("waiting"), 1)
    assert reads.take_expired(READ_TIMEOUT_TICKS - 1) == []
    assert names(reads.take_expired(READ_TIMEOUT_TICKS)) == ["asked"]
    assert names(reads.take_expired(READ_TIMEOUT_TICKS + 1)) == ["waiting"]
    assert len(reads) == 0


def test_taking_all_leaves_none_waiting() -> None:
    reads = PendingReads()
    reads.add(read("confirmed"), 0)
    reads.confirm(asked(reads), 9)
    reads.add(read("asked"), 0)
    asked(reads)
    reads.add(read("waiting"), 0)
    assert len(reads) == 3
    assert names(reads.take_all()) == ["confirmed", "asked", "waiting"]
    assert len(reads) == 0


@pytest.mark.parametrize("end", ["ready", "expired early", "expired late", "all"])
def test_only_so_many_bytes_wait_until_they_are_served_or_given_up(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(pending_reads, "READS_BYTES_MAX", 10)
    reads = PendingReads()
    large = Request(b"a", 1, b"1234567890")
    assert reads.has_room(large)
    reads.add(large, 0)
    assert not reads.has_room(Request(b"a", 2, b"1"))
    if end == "ready":
        reads.confirm(asked(reads), 5)
        assert reads.take_ready(5) == [large]
    elif end == "all":
        assert reads.take_all() == [large]
    else:
        if end == "expired late":
            asked(reads)
        assert reads.take_expired(READ_TIMEOUT_TICKS) == [large]
    assert reads.has_room(large)
    assert not reads.has_room(Request(b"a", 2, b"12345678901"))

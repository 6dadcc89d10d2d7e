"""The unstable end of the log (PAPER_TESTS C11, C13; SPEC 5.5)."""

from typing import Any

import pytest

from metastore.node.raft.events import EventKind
from metastore.node.raft.model import Entry, RaftFailed, Snapshot
from metastore.node.raft.unstable import Unstable


def entries(first: int, *terms: int) -> list[Entry]:
    return [Entry(term, first + position) for position, term in enumerate(terms)]


class Log:
    """An unstable log at offset 5 and the events it emitted."""

    def __init__(
        self, *terms: int, snapshot: Snapshot | None = None, in_progress: int | None = None
    ) -> None:
        self.events: list[tuple[EventKind, dict[str, Any]]] = []
        self.unstable = Unstable(5, lambda kind, fields: self.events.append((kind, fields)))
        self.unstable.entries = entries(5, *terms)
        self.unstable.snapshot = snapshot
        if in_progress is not None:
            self.unstable.offset_in_progress = in_progress

    @property
    def shape(self) -> tuple[int, int, list[int]]:
        """(offset, in-progress mark, terms)"""
        unstable = self.unstable
        terms = [entry.term for entry in unstable.entries]
        return unstable.offset, unstable.offset_in_progress, terms

    @property
    def kinds(self) -> list[EventKind]:
        return [kind for kind, _ in self.events]


def test_the_first_index_is_decided_by_a_snapshot_only() -> None:
    assert Log(1).unstable.maybe_first_index() is None
    assert Log(1, snapshot=Snapshot(4, 1)).unstable.maybe_first_index() == 5


def test_the_last_index_is_the_last_entrys_else_the_snapshots() -> None:
    assert Log().unstable.maybe_last_index() is None
    assert Log(1).unstable.maybe_last_index() == 5
    assert Log(1, snapshot=Snapshot(4, 1)).unstable.maybe_last_index() == 5
    assert Log(snapshot=Snapshot(4, 1)).unstable.maybe_last_index() == 4


@pytest.mark.parametrize(
    ("terms", "snapshot", "index", "expected"),
    [
        ((1,), None, 5, 1),
        ((1,), None, 6, None),
        ((1,), None, 4, None),
        ((1,), Snapshot(4, 3), 4, 3),
        ((1,), Snapshot(4, 3), 3, None),
        ((), Snapshot(4, 3), 5, None),
        ((), None, 5, None),
    ],
)
def test_terms_are_known_of_the_entries_and_exactly_the_snapshots_index(
    terms: tuple[int, ...], snapshot: Snapshot | None, index: int, expected: int | None
) -> None:
    assert Log(*terms, snapshot=snapshot).unstable.maybe_term(index) == expected


# C13: handing out


def test_next_entries_are_those_beyond_the_in_progress_mark() -> None:
    assert Log(1, 1).unstable.next_entries() == tuple(entries(5, 1, 1))
    assert Log(1, 1, in_progress=6).unstable.next_entries() == tuple(entries(6, 1))
    assert Log(1, 1, in_progress=7).unstable.next_entries() == ()
    assert Log(1, in_progress=5).unstable.has_next_entries
    assert not Log(1, in_progress=6).unstable.has_next_entries


def test_accepting_marks_all_entries_and_the_snapshot_as_in_progress() -> None:
    log = Log(1, 1, snapshot=Snapshot(4, 1))
    assert log.unstable.next_snapshot() == Snapshot(4, 1)
    log.unstable.accept_in_progress()
    assert log.shape == (5, 7, [1, 1])
    assert log.unstable.next_entries() == ()
    assert log.unstable.next_snapshot() is None
    assert log.unstable.snapshot is not None


def test_accepting_without_a_snapshot_leaves_a_later_one_to_be_handed_out() -> None:
    log = Log(1)
    log.unstable.accept_in_progress()
    assert not log.unstable.snapshot_in_progress
    log.unstable.restore(Snapshot(9, 2))
    assert log.unstable.next_snapshot() == Snapshot(9, 2)


def test_a_snapshot_replacing_one_in_progress_is_handed_out_again() -> None:
    log = Log(1, snapshot=Snapshot(4, 1))
    log.unstable.accept_in_progress()
    log.unstable.restore(Snapshot(9, 2))
    assert log.unstable.next_snapshot() == Snapshot(9, 2)
    assert log.shape == (10, 10, [])


# C13: becoming stable


@pytest.mark.parametrize(
    ("terms", "in_progress", "index", "term", "expected"),
    [
        ((), 5, 5, 1, (5, 5, [])),
        ((1,), 6, 5, 1, (6, 6, [])),
        ((1, 1), 6, 5, 1, (6, 6, [1])),
        ((1, 1), 7, 5, 1, (6, 7, [1])),
        ((2,), 6, 5, 1, (5, 6, [2])),
        ((1,), 6, 4, 1, (5, 6, [1])),
        ((1,), 6, 6, 1, (5, 6, [1])),
        ((1, 1), 5, 6, 1, (7, 7, [])),
    ],
)
def test_only_the_very_entry_written_becomes_stable(
    terms: tuple[int, ...], in_progress: int, index: int, term: int, expected: tuple[Any, ...]
) -> None:
    log = Log(*terms, in_progress=in_progress)
    log.unstable.stable_to(index, term)
    assert log.shape == expected


def test_a_late_write_of_a_missing_entry_is_told_and_ignored() -> None:
    log = Log(1)
    log.unstable.stable_to(6, 1)
    assert log.events == [(EventKind.STABLE_ENTRY_MISSING, {"index": 6})]


def test_a_late_write_of_a_replaced_entry_is_told_and_ignored() -> None:
    log = Log(3)
    log.unstable.stable_to(5, 2)
    fields = {"index": 5, "term": 2, "own_term": 3}
    assert log.events == [(EventKind.STABLE_ENTRY_MISMATCHED, fields)]


def test_a_write_ending_at_the_pending_snapshot_makes_no_entries_stable() -> None:
    log = Log(1, snapshot=Snapshot(4, 1))
    log.unstable.stable_to(4, 1)
    assert log.shape == (5, 5, [1])
    assert log.events == []


def test_a_late_write_below_entries_already_stable_changes_nothing() -> None:
    log = Log(1, 1, snapshot=Snapshot(3, 1))
    log.unstable.stable_to(3, 1)
    assert log.shape == (5, 5, [1, 1])


def test_a_snapshot_becomes_stable_by_its_own_index_only() -> None:
    log = Log(snapshot=Snapshot(4, 1))
    log.unstable.accept_in_progress()
    log.unstable.stable_snapshot_to(3)
    assert log.unstable.snapshot == Snapshot(4, 1)
    log.unstable.stable_snapshot_to(4)
    assert log.unstable.snapshot is None
    assert not log.unstable.snapshot_in_progress


# C13: truncate and append


@pytest.mark.parametrize(
    ("terms", "in_progress", "first", "new", "expected", "kinds"),
    [
        # after the end: the mark stays
        ((1,), 5, 6, (1, 1), (5, 5, [1, 1, 1]), []),
        ((1,), 6, 6, (1, 1), (5, 6, [1, 1, 1]), []),
        # from the offset or below it: all is replaced and written anew
        ((1,), 5, 5, (2, 2), (5, 5, [2, 2]), [EventKind.UNSTABLE_REPLACED]),
        ((1,), 6, 5, (2, 2), (5, 5, [2, 2]), [EventKind.UNSTABLE_REPLACED]),
        ((1,), 6, 4, (2, 2, 2), (4, 4, [2, 2, 2]), [EventKind.UNSTABLE_REPLACED]),
        # inside: the head stays, the mark falls to the cut
        ((1, 1, 1), 5, 6, (2,), (5, 5, [1, 2]), [EventKind.UNSTABLE_TRUNCATED]),
        ((1, 1, 1), 7, 6, (2,), (5, 6, [1, 2]), [EventKind.UNSTABLE_TRUNCATED]),
        ((1, 1, 1), 6, 7, (2, 2), (5, 6, [1, 1, 2, 2]), [EventKind.UNSTABLE_TRUNCATED]),
        ((1, 1, 1), 8, 7, (2, 2), (5, 7, [1, 1, 2, 2]), [EventKind.UNSTABLE_TRUNCATED]),
    ],
)
def test_new_entries_replace_what_they_overlap_and_lower_the_mark(
    terms: tuple[int, ...],
    in_progress: int,
    first: int,
    new: tuple[int, ...],
    expected: tuple[Any, ...],
    kinds: list[EventKind],
) -> None:
    log = Log(*terms, in_progress=in_progress)
    log.unstable.truncate_and_append(entries(first, *new))
    assert log.shape == expected
    assert log.kinds == kinds


def test_entries_handed_out_do_not_change_when_the_log_is_cut() -> None:
    log = Log(1, 1)
    handed_out = log.unstable.next_entries()
    log.unstable.truncate_and_append(entries(6, 2))
    assert handed_out == tuple(entries(5, 1, 1))


def test_an_append_leaving_a_gap_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        Log(1).unstable.truncate_and_append(entries(7, 1))


def test_a_slice_is_bounded_by_the_unstable_log() -> None:
    log = Log(1, 2, 3)
    assert list(log.unstable.slice(6, 8)) == entries(6, 2, 3)
    for low, high in ((4, 6), (7, 6), (6, 9)):
        with pytest.raises(RaftFailed):
            log.unstable.slice(low, high)

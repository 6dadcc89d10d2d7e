"""How the log grows, commits and becomes stable (PAPER_TESTS C1, C4-C6; paper 5.3, 5.4)."""

import pytest
from log_builder import Log, Terms, entries

from metastore.node.raft.events import EventKind
from metastore.node.raft.model import Entry, RaftFailed

# C1


@pytest.mark.parametrize(
    ("first", "terms", "conflict"),
    [
        (1, (), 0),
        (1, (1, 2, 3), 0),
        (2, (2, 3), 0),
        (3, (3,), 0),
        (1, (1, 2, 3, 4, 4), 4),
        (2, (2, 3, 4, 5), 4),
        (3, (3, 4, 4), 4),
        (4, (4, 4), 4),
        (1, (4, 4), 1),
        (2, (1, 4, 4), 2),
        (3, (1, 2, 4, 4), 3),
    ],
)
@pytest.mark.parametrize("log", [Log(1, 2, 3), Log(stable=(1, 2, 3)), Log(3, stable=(1, 2))])
def test_a_conflict_is_the_first_entry_the_log_does_not_have(
    log: Log, first: int, terms: Terms, conflict: int
) -> None:
    assert log.find_conflict(entries(first, *terms)) == conflict


def test_a_conflict_is_told_only_if_it_overwrites() -> None:
    log = Log(1, 2, 3)
    log.find_conflict(entries(4, 4))
    assert log.events == []
    log.find_conflict(entries(2, 4))
    fields = {"index": 2, "existing_term": 2, "conflicting_term": 4}
    assert log.events == [(EventKind.CONFLICT_FOUND, fields)]


# C4


@pytest.mark.parametrize(
    ("first", "terms", "last", "expected", "offset"),
    [
        (0, (), 2, (1, 2), 3),
        (3, (2,), 3, (1, 2, 2), 3),
        (1, (2,), 1, (2,), 1),
        (2, (3, 3), 3, (1, 3, 3), 2),
    ],
)
def test_an_append_replaces_what_it_overlaps_and_makes_it_unstable(
    first: int, terms: Terms, last: int, expected: Terms, offset: int
) -> None:
    log = Log(stable=(1, 2))
    assert log.append(entries(first, *terms)) == last
    assert (log.terms, log.unstable.offset) == (expected, offset)


def test_an_append_over_committed_entries_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        Log(1, 2, commit=2).append(entries(2, 3))


# C5


@pytest.mark.parametrize(
    ("prev", "leader_commit", "batch", "last", "commit"),
    [
        ((2, 3), 3, [(4, 4)], None, 1),
        ((3, 4), 3, [(5, 4)], None, 1),
        ((3, 3), 3, [], 3, 3),
        ((3, 3), 4, [], 3, 3),
        ((3, 3), 2, [], 3, 2),
        ((3, 3), 0, [], 3, 1),
        ((0, 0), 3, [], 0, 1),
        ((3, 3), 3, [(4, 4)], 4, 3),
        ((3, 3), 4, [(4, 4)], 4, 4),
        ((3, 3), 5, [(4, 4)], 4, 4),
        ((3, 3), 5, [(4, 4), (5, 4)], 5, 5),
        ((2, 2), 3, [(3, 4)], 3, 3),
        ((1, 1), 3, [(2, 4)], 2, 2),
        ((1, 1), 3, [(2, 4), (3, 4)], 3, 3),
    ],
)
def test_a_leaders_append_is_taken_if_it_connects_and_commits_what_it_covers(
    prev: tuple[int, int],
    leader_commit: int,
    batch: list[tuple[int, int]],
    last: int | None,
    commit: int,
) -> None:
    log = Log(1, 2, 3, commit=1)
    before = log.terms
    prev_term, prev_index = prev
    new = tuple(Entry(term, index) for index, term in batch)
    assert log.maybe_append(prev_index, prev_term, leader_commit, new) == last
    assert log.commit_index == commit
    if last is None:
        assert log.terms == before
    elif batch:
        assert log.slice(prev_index + 1, prev_index + 1 + len(new)) == new


def test_a_leaders_append_that_conflicts_with_a_committed_entry_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        Log(1, 2, 3, commit=1).maybe_append(0, 0, 3, entries(1, 4))


def test_a_late_duplicate_of_an_append_cuts_nothing_off() -> None:  # §5.3
    log = Log(1, 2, 3, commit=1)
    assert log.maybe_append(1, 1, 1, entries(2, 2)) == 2
    assert log.terms == (1, 2, 3)


def test_an_append_that_matches_in_part_is_taken_from_the_conflict_on() -> None:
    log = Log(stable=(1, 2, 3), commit=1)
    assert log.maybe_append(1, 1, 1, entries(2, 2, 4, 4)) == 4
    assert log.terms == (1, 2, 4, 4)
    assert log.unstable.offset == 3


# C6


def test_the_commit_index_rises_and_never_falls() -> None:
    log = Log(1, 2, 3, commit=2)
    log.commit_to(1)
    assert log.commit_index == 2
    log.commit_to(3)
    assert log.commit_index == 3


def test_committing_beyond_the_last_entry_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        Log(1, 2, 3, commit=2).commit_to(4)


@pytest.mark.parametrize(
    ("index", "term", "commits"),
    [(2, 1, True), (3, 2, True), (1, 1, False), (2, 2, False), (3, 1, False), (4, 2, False)],
)
def test_only_an_entry_of_the_given_term_is_committed_by_a_quorum(  # §5.4.2
    index: int, term: int, commits: bool
) -> None:
    log = Log(1, 1, 2, commit=1)
    assert log.maybe_commit(index, term) is commits
    assert log.commit_index == (index if commits else 1)


def test_term_zero_never_commits() -> None:
    assert not Log(0, after=(1, 0), commit=1).maybe_commit(2, 0)


@pytest.mark.parametrize(
    ("index", "term", "offset"),
    [(1, 1, 2), (2, 2, 3), (2, 1, 1), (3, 1, 1)],
)
def test_the_log_is_stable_up_to_an_entry_it_holds_with_that_term(
    index: int, term: int, offset: int
) -> None:
    log = Log(1, 2)
    log.stable_to(index, term)
    assert log.unstable.offset == offset


@pytest.mark.parametrize("unstable", [(), (2,)])
@pytest.mark.parametrize("index", [4, 5, 6])
@pytest.mark.parametrize("term", [1, 2, 3])
def test_a_mark_at_a_snapshot_or_of_another_term_makes_nothing_stable(
    unstable: Terms, index: int, term: int
) -> None:
    log = Log(*unstable, after=(5, 2))
    log.stable_to(index, term)
    assert log.unstable.offset == (7 if unstable and (index, term) == (6, 2) else 6)

"""What the log holds and tells (PAPER_TESTS C2, C3, C10-C12; paper 5.4.1).

How it grows is in test_log_appending.py, how it hands out entries in test_log_applying.py.
"""

import pytest
from log_builder import Log, Terms, entries

from metastore.node.raft.events import EventKind
from metastore.node.raft.log import RaftLog
from metastore.node.raft.model import ENTRY_OVERHEAD_BYTES, NO_LIMIT, Entry, RaftFailed, Snapshot
from metastore.node.raft.storage import Compacted, MemoryStorage, Unavailable

# C2


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [
        (100, 2, 100),
        (5, 6, 5),
        (5, 5, 5),
        (5, 4, 2),
        (5, 2, 2),
        (5, 1, 0),
        (1, 2, 1),
        (1, 1, 0),
        (0, 0, 0),
    ],
)
def test_the_search_for_agreement_stops_at_the_last_term_not_above_the_given(
    index: int, term: int, expected: int
) -> None:
    log = Log(2, 2, 5, 5, 5)
    known = log.term_or_zero(expected)
    assert log.find_conflict_by_term(index, term) == (expected, known)


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [
        (30, 3, 30),
        (14, 9, 14),
        (14, 4, 14),
        (14, 3, 12),
        (14, 2, 9),
        (11, 5, 11),
        (10, 5, 10),
        (10, 3, 10),
        (10, 2, 9),
        (9, 2, 9),
        (4, 2, 4),
        (0, 0, 0),
    ],
)
@pytest.mark.parametrize("stable", [(), (3, 3, 4), (3, 3, 4, 4, 4)])
def test_the_search_for_agreement_ends_below_the_compacted_position_with_term_zero(
    stable: Terms, index: int, term: int, expected: int
) -> None:
    log = Log(*(3, 3, 4, 4, 4)[len(stable) :], stable=stable, after=(10, 3))
    known = log.term_or_zero(expected)
    assert log.find_conflict_by_term(index, term) == (expected, known)
    assert (known == 0) == (not 10 <= expected <= 15)


# C3


@pytest.mark.parametrize(
    ("term", "index", "up_to_date"),
    [
        (4, 2, True),
        (4, 3, True),
        (4, 4, True),
        (2, 2, False),
        (2, 3, False),
        (2, 4, False),
        (3, 2, False),
        (3, 3, True),
        (3, 4, True),
    ],
)
def test_the_later_term_is_more_up_to_date_and_then_the_longer_log(  # §5.4.1
    term: int, index: int, up_to_date: bool
) -> None:
    assert Log(1, 2, 3).is_up_to_date(term, index) is up_to_date


# C10

HALF = 4  # entries in storage, and as many unstable ones


def two_halves() -> Log:
    return Log(*(1,) * HALF, stable=(1,) * HALF, after=(100, 1))


@pytest.mark.parametrize(
    ("low", "high", "limit_entries", "expected"),
    [
        (101, 103, None, 2),
        (103, 105, None, 2),
        (104, 106, None, 2),
        (105, 107, None, 2),
        (101, 109, None, 8),
        (109, 109, None, 0),
        (104, 107, 0, 1),
        (105, 107, 0, 1),
        (101, 107, 2, 2),
        (103, 107, 2, 2),
        (103, 107, 3, 3),
        (104, 107, 1, 1),
        (104, 107, 2, 2),
        (105, 107, 1, 1),
        (106, 109, 2, 2),
    ],
)
def test_a_slice_is_cut_to_its_limit_across_the_border_of_storage(
    low: int, high: int, limit_entries: int | None, expected: int
) -> None:
    limit = NO_LIMIT if limit_entries is None else limit_entries * ENTRY_OVERHEAD_BYTES
    assert two_halves().slice(low, high, limit) == entries(low, *(1,) * expected)


@pytest.mark.parametrize("low", [102, 103, 104, 105])
def test_one_byte_less_than_three_entries_gives_two(low: int) -> None:
    size = ENTRY_OVERHEAD_BYTES
    assert len(two_halves().slice(low, low + 4, 3 * size - 1)) == 2
    assert len(two_halves().slice(low, low + 4, 3 * size)) == 3


def test_a_slice_cut_inside_storage_does_not_go_on_behind_the_gap() -> None:
    storage = MemoryStorage()
    storage.append((Entry(1, 1), Entry(1, 2, data=b"much longer")))
    log = RaftLog(storage, NO_LIMIT, lambda kind, fields: None)
    log.append(entries(3, 1))
    assert log.slice(1, 4, 2 * ENTRY_OVERHEAD_BYTES) == entries(1, 1)


def test_a_slice_below_the_first_index_is_compacted() -> None:
    with pytest.raises(Compacted):
        two_halves().slice(100, 103)
    with pytest.raises(Compacted):
        two_halves().entries(99)


@pytest.mark.parametrize(("low", "high"), [(104, 103), (108, 110), (110, 111)])
def test_a_slice_outside_the_log_is_a_broken_invariant(low: int, high: int) -> None:
    with pytest.raises(RaftFailed):
        two_halves().slice(low, high)


def test_entries_from_beyond_the_end_are_none() -> None:
    assert two_halves().entries(109) == ()
    assert two_halves().entries(107) == entries(107, 1, 1)


@pytest.mark.parametrize(
    ("page_entries", "pages"),
    [(0, [1] * 8), (1, [1] * 8), (2, [2] * 4), (3, [3, 3, 2]), (100, [8])],
)
def test_a_scan_visits_every_entry_once_in_pages_within_the_limit(
    page_entries: int, pages: list[int]
) -> None:
    seen: list[tuple[Entry, ...]] = []
    two_halves().scan(101, 109, page_entries * ENTRY_OVERHEAD_BYTES, seen.append)
    assert [len(page) for page in seen] == pages
    assert sum(seen, ()) == entries(101, *(1,) * 8)


def test_a_scan_ends_with_the_error_of_its_visitor() -> None:
    seen = []

    def stop(page: tuple[Entry, ...]) -> None:
        seen.append(page)
        raise StopIteration

    with pytest.raises(StopIteration):
        two_halves().scan(101, 109, 0, stop)
    assert len(seen) == 1


# C11


def test_terms_are_known_from_the_compacted_position_to_the_end() -> None:
    log = Log(7, 8, stable=(5, 6), after=(100, 4))
    assert [log.term(index) for index in range(100, 105)] == [4, 5, 6, 7, 8]
    with pytest.raises(Compacted):
        log.term(99)
    with pytest.raises(Unavailable):
        log.term(105)
    assert (log.term_or_zero(99), log.term_or_zero(105)) == (0, 0)
    assert (log.match_term(99, 0), log.match_term(105, 0)) == (False, False)


def test_a_pending_snapshot_hides_what_storage_still_has() -> None:
    log = Log(stable=(1, 1, 1), after=(100, 1))
    log.restore(Snapshot(105, 3))
    for index in (100, 103, 104):
        with pytest.raises(Compacted):
            log.term(index)
    assert log.term(105) == 3
    with pytest.raises(Unavailable):
        log.term(106)
    assert (log.first_index, log.last_index, log.last_term) == (106, 105, 3)


def test_an_unstable_truncation_hides_what_storage_still_has() -> None:
    log = Log(stable=(1, 1, 1))
    log.append(entries(2, 2))
    assert log.last_index == 2
    with pytest.raises(Unavailable):
        log.term(3)


def test_a_restored_snapshot_replaces_the_log_and_is_committed() -> None:
    log = Log(2, 2, stable=(1, 1), commit=1)
    snapshot = Snapshot(9, 3)
    log.restore(snapshot)
    assert (log.commit_index, log.last_applied, log.applying_index) == (9, 0, 0)
    assert (log.snapshot(), log.next_unstable_snapshot()) == (snapshot, snapshot)
    assert log.has_pending_snapshot
    assert log.has_next_unstable_snapshot
    kind, fields = log.events[-1]
    assert kind is EventKind.RESTORE_STARTED
    assert kind.describe(fields) == (
        "log [committed=1, applied=0, applying=0, unstable.offset=3, unstable.offsetInProgress=3, "
        "len(unstable.Entries)=2] starts to restore snapshot [index: 9, term: 3]"
    )
    log.accept_unstable()
    assert not log.has_next_unstable_snapshot
    log.stable_snapshot_to(9)
    assert not log.has_pending_snapshot


def test_unstable_entries_are_handed_out_once() -> None:
    log = Log(1, 2)
    assert log.has_next_unstable_entries
    assert log.next_unstable_entries() == entries(1, 1, 2)
    log.accept_unstable()
    assert not log.has_next_unstable_entries
    assert log.next_unstable_entries() == ()


# C12


def test_compaction_leaves_the_entries_above_it() -> None:
    log = Log(stable=(1,) * 1000, commit=1000)
    for point, left in ((300, 700), (500, 500), (800, 200), (900, 100)):
        log.storage.compact(point)
        assert len(log.entries(log.first_index)) == left
    with pytest.raises(Compacted):
        log.storage.compact(800)
    with pytest.raises(RaftFailed):
        log.storage.compact(1001)


def test_compaction_has_no_side_effects_on_what_is_above() -> None:
    log = Log(*range(751, 1001), stable=tuple(range(1, 751)), commit=750)
    log.applied_to(750, 0)
    log.storage.compact(500)
    assert log.last_index == 1000
    for index in range(500, 1001):
        assert log.term(index) == index
        assert log.match_term(index, index)
    assert log.next_unstable_entries() == entries(751, *range(751, 1001))
    assert log.append(entries(1001, 1000)) == 1001
    assert log.entries(1001) == entries(1001, 1000)


def test_a_log_starts_committed_and_applied_through_what_is_compacted() -> None:
    log = Log(stable=(4, 4), after=(10, 3))
    assert (log.commit_index, log.last_applied, log.applying_index) == (10, 10, 10)
    assert (log.first_index, log.last_index, log.unstable.offset) == (11, 12, 13)

"""The in-memory log and the size limit (PAPER_TESTS C12, C14, C15, C16)."""

import pytest

from metastore.node.raft.model import (
    ENTRY_OVERHEAD_BYTES,
    NO_LIMIT,
    ConfigurationState,
    Entry,
    HardState,
    RaftFailed,
    Snapshot,
)
from metastore.node.raft.storage import (
    Compacted,
    MemoryStorage,
    SnapshotOutOfDate,
    Unavailable,
    check_slice,
    limit_size,
    payload_bytes,
)

STATE = ConfigurationState(voters=(1, 2, 3))


def entries(first: int, *terms: int) -> list[Entry]:
    return [Entry(term, first + position) for position, term in enumerate(terms)]


def storage_345() -> MemoryStorage:
    """Compacted through (3, term 3), then the entries 4 and 5 of terms 4 and 5."""
    storage = MemoryStorage()
    storage.append([*entries(1, 1, 2, 3, 4, 5)])
    storage.compact(3)
    return storage


def content(storage: MemoryStorage) -> list[tuple[int, int]]:
    low, high = storage.first_index(), storage.last_index() + 1
    return [(entry.index, entry.term) for entry in storage.entries(low, high, NO_LIMIT)]


# C14: reading


@pytest.mark.parametrize("index", [3, 4, 5])
def test_a_term_is_known_from_the_compacted_position_to_the_last_entry(index: int) -> None:
    assert storage_345().term(index) == index


def test_the_term_below_the_compacted_position_is_compacted() -> None:
    with pytest.raises(Compacted):
        storage_345().term(2)


def test_the_term_beyond_the_last_entry_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        storage_345().term(6)


@pytest.mark.parametrize("low", [2, 3])
def test_compacted_entries_cannot_be_read(low: int) -> None:
    with pytest.raises(Compacted):
        storage_345().entries(low, 6, NO_LIMIT)


def test_entries_are_read_up_to_but_without_the_high_end() -> None:
    assert list(storage_345().entries(4, 5, NO_LIMIT)) == entries(4, 4)
    assert list(storage_345().entries(4, 6, NO_LIMIT)) == entries(4, 4, 5)


def test_reading_past_the_last_entry_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        storage_345().entries(4, 7, NO_LIMIT)


def test_a_read_is_cut_to_the_size_limit_but_never_to_nothing() -> None:
    storage = storage_345()
    storage.append(entries(6, 6))
    size = ENTRY_OVERHEAD_BYTES
    assert len(storage.entries(4, 7, 0)) == 1
    assert len(storage.entries(4, 7, 2 * size)) == 2
    assert len(storage.entries(4, 7, 3 * size - 1)) == 2
    assert len(storage.entries(4, 7, 3 * size)) == 3


def test_the_first_and_last_index_follow_the_entries() -> None:
    storage = storage_345()
    assert (storage.first_index(), storage.last_index()) == (4, 5)
    storage.append(entries(6, 5))
    assert (storage.first_index(), storage.last_index()) == (4, 6)


def test_a_new_storage_is_empty() -> None:
    storage = MemoryStorage()
    assert (storage.first_index(), storage.last_index(), storage.term(0)) == (1, 0, 0)
    assert storage.initial_state() == (HardState(), ConfigurationState())
    assert storage.snapshot() == Snapshot()


def test_the_initial_state_is_what_was_set() -> None:
    storage = MemoryStorage()
    storage.set_hard_state(HardState(3, 2, 1))
    storage.set_configuration(STATE)
    assert storage.initial_state() == (HardState(3, 2, 1), STATE)


# C14: appending


@pytest.mark.parametrize(
    ("first", "terms", "expected"),
    [
        (1, (1, 2), [(4, 4), (5, 5)]),
        (3, (3, 4, 5), [(4, 4), (5, 5)]),
        (3, (3, 6, 6), [(4, 6), (5, 6)]),
        (3, (3, 4, 5, 5), [(4, 4), (5, 5), (6, 5)]),
        (2, (3, 3, 5), [(4, 5)]),
        (4, (5,), [(4, 5)]),
        (6, (5,), [(4, 4), (5, 5), (6, 5)]),
        (6, (), [(4, 4), (5, 5)]),
    ],
)
def test_an_append_skips_what_is_compacted_and_replaces_what_it_overlaps(
    first: int, terms: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    storage = storage_345()
    storage.append(entries(first, *terms))
    assert content(storage) == expected


def test_an_append_that_would_leave_a_gap_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        storage_345().append(entries(7, 5))


def test_an_append_of_entries_that_are_not_contiguous_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        storage_345().append([Entry(5, 6), Entry(5, 8)])


# C12, C14: compacting


@pytest.mark.parametrize("index", [2, 3])
def test_compacting_what_is_compacted_is_refused(index: int) -> None:
    with pytest.raises(Compacted):
        storage_345().compact(index)


def test_compacting_keeps_the_term_of_the_position_and_the_entries_above() -> None:
    storage = storage_345()
    storage.compact(4)
    assert (storage.first_index(), storage.term(4)) == (5, 4)
    assert content(storage) == [(5, 5)]


def test_compacting_everything_leaves_an_empty_log_that_goes_on() -> None:
    storage = storage_345()
    storage.compact(5)
    assert (storage.first_index(), storage.last_index(), storage.term(5)) == (6, 5, 5)
    storage.append(entries(6, 6))
    assert content(storage) == [(6, 6)]


def test_compacting_beyond_the_last_entry_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        storage_345().compact(6)


# C14: snapshots


def test_a_snapshot_replaces_the_whole_log() -> None:
    storage = storage_345()
    snapshot = Snapshot(9, 7, STATE, b"state")
    storage.apply_snapshot(snapshot)
    assert (storage.first_index(), storage.last_index(), storage.term(9)) == (10, 9, 7)
    assert storage.snapshot() == snapshot
    assert storage.initial_state()[1] == STATE


@pytest.mark.parametrize("index", [3, 4])
def test_a_snapshot_no_newer_than_the_held_one_is_out_of_date(index: int) -> None:
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(4, 4, STATE))
    with pytest.raises(SnapshotOutOfDate):
        storage.apply_snapshot(Snapshot(index, index, STATE))


def test_a_snapshot_below_the_compacted_position_is_out_of_date() -> None:
    with pytest.raises(SnapshotOutOfDate):
        storage_345().apply_snapshot(Snapshot(2, 2, STATE))


def test_an_empty_storage_accepts_a_snapshot_with_only_a_configuration() -> None:
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(configuration=STATE))
    assert storage.initial_state()[1] == STATE
    assert (storage.first_index(), storage.last_index()) == (1, 0)


def test_a_storage_with_entries_refuses_a_snapshot_with_only_a_configuration() -> None:
    storage = MemoryStorage()
    storage.append(entries(1, 1))
    with pytest.raises(SnapshotOutOfDate):
        storage.apply_snapshot(Snapshot(configuration=STATE))


@pytest.mark.parametrize("index", [4, 5])
def test_a_snapshot_is_created_at_an_index_without_touching_the_log(index: int) -> None:
    storage = storage_345()
    expected = Snapshot(index, index, STATE, b"data")
    assert storage.create_snapshot(index, STATE, b"data") == expected
    assert storage.snapshot() == expected
    assert content(storage) == [(4, 4), (5, 5)]


def test_a_created_snapshot_must_be_newer_than_the_held_one() -> None:
    storage = storage_345()
    storage.create_snapshot(5, STATE)
    with pytest.raises(SnapshotOutOfDate):
        storage.create_snapshot(4, STATE)


def test_a_snapshot_created_beyond_the_log_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        storage_345().create_snapshot(6, STATE)


def test_setting_the_configuration_leaves_the_snapshots_own_alone() -> None:
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(4, 4, STATE))
    storage.set_configuration(ConfigurationState(voters=(1,)))
    assert storage.snapshot().configuration == STATE


# C15


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        (NO_LIMIT, 3),
        (0, 1),
        (2 * ENTRY_OVERHEAD_BYTES, 2),
        (3 * ENTRY_OVERHEAD_BYTES - 1, 2),
        (3 * ENTRY_OVERHEAD_BYTES, 3),
    ],
)
def test_a_size_limit_keeps_the_longest_prefix_within_it_and_at_least_one_entry(
    limit: int, count: int
) -> None:
    assert len(limit_size(entries(4, 4, 5, 6), limit)) == count


def test_a_size_limit_on_nothing_gives_nothing() -> None:
    assert list(limit_size([], 0)) == []


def test_the_payload_of_empty_entries_is_zero() -> None:
    assert payload_bytes(entries(1, 1, 1)) == 0
    assert payload_bytes([Entry(1, 1, data=b"abc"), Entry(1, 2, data=b"d")]) == 4


# C16


@pytest.mark.parametrize(
    ("leader_term", "prev", "batch"),
    [
        (0, (0, 0), []),
        (5, (0, 0), entries(1, 1, 1, 5)),
        (5, (7, 4), entries(8, 4, 5)),
        (4, (7, 4), []),
    ],
)
def test_contiguous_entries_with_rising_terms_are_a_valid_slice(
    leader_term: int, prev: tuple[int, int], batch: list[Entry]
) -> None:
    check_slice(leader_term, *prev, batch)


@pytest.mark.parametrize(
    ("leader_term", "prev", "batch"),
    [
        (5, (7, 4), entries(9, 4)),  # does not follow
        (5, (7, 4), [Entry(4, 8), Entry(4, 10)]),  # a hole
        (5, (7, 4), entries(8, 3)),  # term below the one before
        (5, (7, 4), entries(8, 5, 4)),  # terms fall
        (5, (7, 4), entries(8, 6)),  # beyond the leader's term
        (3, (7, 4), []),  # already the position before is
    ],
)
def test_a_slice_no_leader_can_hold_is_refused(
    leader_term: int, prev: tuple[int, int], batch: list[Entry]
) -> None:
    with pytest.raises(ValueError, match="entry"):
        check_slice(leader_term, *prev, batch)

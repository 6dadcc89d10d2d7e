"""Handing out committed entries and their acknowledgement (PAPER_TESTS C7-C9; SPEC 5.6)."""

import pytest

from metastore.node.raft.log import RaftLog
from metastore.node.raft.model import ENTRY_OVERHEAD_BYTES, NO_LIMIT, Entry, RaftFailed, Snapshot
from metastore.node.raft.storage import MemoryStorage


def log_through_6(bytes_max: int = NO_LIMIT) -> RaftLog:
    """Snapshot at 3, entries 4 to 6 of which 4 is stable, committed through 5, applied to 3."""
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(3, 1))
    log = RaftLog(storage, bytes_max, lambda kind, fields: None)
    entries = [Entry(1, index) for index in (4, 5, 6)]
    log.append(entries)
    storage.append(entries[:1])
    log.stable_to(4, 1)
    log.maybe_commit(5, 1)
    return log


def is_paused(log: RaftLog) -> bool:
    """Whether nothing would be handed out although something more could be."""
    log.unstable.entries.append(Entry(1, 7))
    log.commit_index = 7
    log.unstable.offset_in_progress = log.unstable.offset
    return not log.has_next_committed(True)


# C7


@pytest.mark.parametrize(
    ("applied", "applying", "allow_unstable", "expected"),
    [
        (3, 3, True, [4, 5]),
        (3, 4, True, [5]),
        (3, 5, True, []),
        (4, 4, True, [5]),
        (4, 5, True, []),
        (5, 5, True, []),
        (3, 3, False, [4]),
        (3, 4, False, []),
        (3, 5, False, []),
        (4, 4, False, []),
        (4, 5, False, []),
        (5, 5, False, []),
    ],
)
def test_committed_entries_are_handed_out_once_and_unstable_ones_only_if_allowed(
    applied: int, applying: int, allow_unstable: bool, expected: list[int]
) -> None:
    log = log_through_6()
    log.applied_to(applied, 0)
    log.accept_applying(applying, 0, allow_unstable)
    # Acknowledging unpauses what a batch cut at `applying` paused.
    log.applied_to(applied, 0)
    assert log.has_next_committed(allow_unstable) is bool(expected)
    assert [entry.index for entry in log.next_committed(allow_unstable)] == expected


def test_nothing_is_handed_out_while_paused() -> None:
    log = log_through_6()
    log.accept_applying(4, 0, True)  # a batch that was cut
    assert not log.has_next_committed(True)
    assert log.next_committed(True) == ()


def test_nothing_is_handed_out_while_a_snapshot_is_pending() -> None:
    log = log_through_6()
    log.restore(Snapshot(9, 1))
    assert not log.has_next_committed(True)
    log.accept_unstable()
    assert not log.has_next_committed(True)
    assert log.next_committed(True) == ()


# C8


@pytest.mark.parametrize(
    ("index", "size", "allow_unstable", "paused"),
    [
        *((index, size, True, True) for index in (3, 4) for size in (99, 100, 101)),
        (5, 99, True, False),
        (5, 100, True, True),
        (5, 101, True, True),
        *((3, size, False, True) for size in (99, 100, 101)),
        *((index, 99, False, False) for index in (4, 5)),
        *((index, size, False, True) for index in (4, 5) for size in (100, 101)),
    ],
)
def test_applying_pauses_at_the_byte_limit_and_after_a_cut_batch(
    index: int, size: int, allow_unstable: bool, paused: bool
) -> None:
    log = log_through_6(bytes_max=100)
    log.accept_applying(index, size, allow_unstable)
    assert is_paused(log) is paused


# C9


@pytest.mark.parametrize(
    ("index", "acknowledged", "outstanding", "paused"),
    [
        (4, 4, 101, True),
        (4, 5, 100, True),
        (4, 6, 99, False),
        (5, 4, 101, True),
        (5, 5, 100, True),
        (5, 6, 99, False),
        (4, 105, 0, False),
        (4, 106, 0, False),
    ],
)
def test_an_acknowledgement_gives_back_its_bytes(
    index: int, acknowledged: int, outstanding: int, paused: bool
) -> None:
    log = log_through_6(bytes_max=100)
    log.accept_applying(5, 105, True)
    log.applied_to(index, acknowledged)
    assert (log.last_applied, log.applying_index) == (index, 5)
    # What is outstanding shows in how much more fits before the pause.
    assert is_paused(log) is paused
    if not paused:
        log.accept_applying(7, 99 - outstanding, True)
        assert log.has_next_committed(True) is False
        log.applied_to(7, 0)
        log.unstable.entries.append(Entry(1, 8))
        log.commit_index = 8
        assert log.has_next_committed(True)
        log.accept_applying(8, 1, True)
        log.unstable.entries.append(Entry(1, 9))
        log.commit_index = 9
        assert not log.has_next_committed(True)


# SPEC 5.6 and the edges


def test_handed_out_entries_stay_within_the_limit_and_are_never_none() -> None:
    size = ENTRY_OVERHEAD_BYTES
    for limit, count in ((1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2)):
        assert len(log_through_6(limit).next_committed(True)) == count


def test_bytes_not_acknowledged_count_against_the_next_batch() -> None:
    size = ENTRY_OVERHEAD_BYTES
    log = log_through_6(3 * size)
    log.commit_to(6)
    log.accept_applying(4, 2 * size, True)
    log.applied_to(3, 0)
    assert [entry.index for entry in log.next_committed(True)] == [5]


def test_applying_or_acknowledging_uncommitted_entries_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        log_through_6().accept_applying(6, 0, True)
    with pytest.raises(RaftFailed):
        log_through_6().applied_to(6, 0)


def test_the_applied_index_never_falls() -> None:
    log = log_through_6()
    log.applied_to(5, 0)
    with pytest.raises(RaftFailed):
        log.applied_to(4, 0)


def test_applying_past_what_was_handed_out_moves_that_mark_too() -> None:
    log = log_through_6()
    log.applied_to(5, 0)
    assert log.applying_index == 5
    assert not log.has_next_committed(True)

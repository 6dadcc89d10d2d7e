"""The window of appends in flight (PAPER_TESTS D6)."""

import pytest

from metastore.node.raft.model import RaftFailed
from metastore.node.raft.progress import Inflights

# D6


@pytest.mark.parametrize(
    ("size", "bytes_max", "full_at", "free_to", "full_again_at"),
    [
        (1, 0, 1, 1, 2),
        (1, 10, 1, 1, 2),
        (15, 0, 15, 6, 22),
        (8, 400, 4, 2, 7),
        (8, 406, 4, 3, 8),
        (15, 408, 5, 1, 6),
    ],
)
def test_a_window_is_full_by_count_or_by_bytes_with_one_message_of_overshoot(
    size: int, bytes_max: int, full_at: int, free_to: int, full_again_at: int
) -> None:
    window = Inflights(size, bytes_max)

    def fill(first: int, end: int) -> None:
        for message in range(first, end):
            assert not window.is_full, f"full before message {message}"
            window.add(message, 100 + message)
        assert window.is_full

    fill(0, full_at)
    window.free_to(free_to)
    fill(full_at, full_again_at)


def test_a_window_of_no_messages_is_always_full() -> None:
    assert Inflights(0).is_full


def test_adding_to_a_full_window_is_a_broken_invariant() -> None:
    window = Inflights(1)
    window.add(1, 1)
    with pytest.raises(RaftFailed):
        window.add(2, 1)


def test_an_acknowledgement_between_two_messages_frees_those_below_it() -> None:
    window = Inflights(10)
    for index in (2, 4, 6):
        window.add(index, 1)
    window.free_to(1)
    assert window.count == 3
    window.free_to(5)
    assert window.count == 1


def test_a_reset_drops_counts_and_bytes() -> None:
    window = Inflights(2, 10)
    window.add(1, 10)
    assert window.is_full
    window.reset()
    assert (window.count, window.is_full) == (0, False)
    window.add(1, 9)
    assert not window.is_full


def test_freeing_gives_back_the_bytes_too() -> None:
    window = Inflights(10, 10)
    window.add(1, 10)
    window.free_to(1)
    assert not window.is_full

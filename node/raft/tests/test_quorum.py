"""Majorities, single and joint (PAPER_TESTS D7; SPEC 9.1)."""

from random import Random

import pytest

from metastore.node.raft.quorum import (
    INFINITE_INDEX,
    VoteResult,
    joint_commit,
    joint_vote,
    majority_commit,
    majority_vote,
)

WON, PENDING, LOST = VoteResult.WON, VoteResult.PENDING, VoteResult.LOST


def ballots(votes: str) -> dict[int, bool]:
    """Votes of the nodes from 1 on: y, n, or _ for none yet."""
    return {node: vote == "y" for node, vote in enumerate(votes, 1) if vote != "_"}


@pytest.mark.parametrize(
    ("voters", "votes", "result"),
    [
        ((), "", WON),
        ((1,), "_", PENDING),
        ((1,), "n", LOST),
        ((1,), "y", WON),
        ((1, 2), "n_", LOST),
        ((1, 2), "y_", PENDING),
        ((1, 2), "yy", WON),
        ((1, 2, 3), "y__", PENDING),
        ((1, 2, 3), "yy_", WON),
        ((1, 2, 3), "ny_", PENDING),
        ((1, 2, 3), "nn_", LOST),
        ((1, 2, 3, 4), "yy__", PENDING),
        ((1, 2, 3, 4), "nn__", LOST),
        ((1, 2, 3), "nnyyy", LOST),  # 4 and 5 have no vote
    ],
)
def test_a_vote_is_decided_as_soon_as_the_missing_ones_cannot_change_it(
    voters: tuple[int, ...], votes: str, result: VoteResult
) -> None:
    assert majority_vote(voters, ballots(votes)) is result


@pytest.mark.parametrize(
    ("votes", "result"),
    [("yyyyy", WON), ("yy___", PENDING), ("yy_nn", LOST), ("nn_yy", LOST), ("__nnn", LOST)],
)
def test_a_joint_vote_needs_both_halves_and_is_lost_with_either(
    votes: str, result: VoteResult
) -> None:
    assert joint_vote((1, 2, 3), (3, 4, 5), ballots(votes)) is result
    assert joint_vote((3, 4, 5), (1, 2, 3), ballots(votes)) is result


def test_an_empty_outgoing_half_leaves_the_vote_to_the_other() -> None:
    for votes in ("y__", "yy_", "nn_"):
        expected = majority_vote((1, 2, 3), ballots(votes))
        assert joint_vote((1, 2, 3), (), ballots(votes)) is expected


@pytest.mark.parametrize(
    ("indexes", "committed"),
    [
        ({1: None}, 0),
        ({1: 12}, 12),
        ({1: 5, 2: 12}, 5),
        ({1: 5, 2: None}, 0),
        ({1: None, 2: 101, 3: 103}, 101),
        ({1: 101, 2: 102, 3: 103}, 102),
        ({1: 101, 2: 101, 3: 103, 4: 104}, 101),
        ({1: 5, 2: 4, 3: 3, 4: 2, 5: 1}, 3),
    ],
)
def test_an_index_is_committed_when_a_majority_holds_it(
    indexes: dict[int, int | None], committed: int
) -> None:
    assert majority_commit(indexes, indexes.get) == committed


def test_no_voters_hold_nothing_back() -> None:
    assert majority_commit((), lambda _: None) == INFINITE_INDEX
    assert joint_commit((), (), lambda _: None) == INFINITE_INDEX
    assert joint_commit((1,), (), lambda _: 7) == 7


def test_a_joint_commit_is_the_lower_half() -> None:
    indexes = {1: 10, 2: 10, 3: 1, 4: 2, 5: 2}
    assert joint_commit((1, 2, 3), (3, 4, 5), indexes.get) == 2
    assert joint_commit((3, 4, 5), (1, 2, 3), indexes.get) == 2


def counted_commit(indexes: dict[int, int]) -> int:
    """The definition, by counting: the highest index that more than half of the voters reached."""
    reached = {
        index: sum(other >= index for other in indexes.values()) for index in {0, *indexes.values()}
    }
    return max(index for index, count in reached.items() if count > len(indexes) // 2)


def test_the_committed_index_equals_its_definition_by_counting() -> None:
    random = Random(7)
    for _ in range(2_000):
        size = random.randrange(1, 8)
        indexes = {node: random.randrange(6) for node in random.sample(range(1, 20), size)}
        known = {node: index for node, index in indexes.items() if index}
        assert majority_commit(indexes, known.get) == counted_commit(indexes), indexes

"""The arithmetic of majorities, single and joint (paper 5.2, 5.3, 6; thesis 4.3).

Stands on model.py alone; configuration.py stands on it. Pure functions: they know ids, votes and
indexes, never what these are for.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from metastore.node.raft.model import NO_LIMIT

# What no voter can hold back: the commit index of an empty half.
INFINITE_INDEX = NO_LIMIT


class VoteResult(Enum):
    WON = "VoteWon"
    PENDING = "VotePending"
    LOST = "VoteLost"


def majority_vote(voters: Iterable[int], votes: Mapping[int, bool]) -> VoteResult:
    """What the votes so far decide. No voters decide for everything: as one half of a joint
    configuration, they leave the decision to the other half."""
    size = granted = missing = 0
    for voter in voters:
        size += 1
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            granted += 1
    quorum = size // 2 + 1
    if not size or granted >= quorum:
        return VoteResult.WON
    return VoteResult.PENDING if granted + missing >= quorum else VoteResult.LOST


def majority_commit(voters: Iterable[int], match: Callable[[int], int | None]) -> int:
    """The highest index that a majority has; `match` gives None where nothing is known."""
    indexes = sorted([match(voter) or 0 for voter in voters])
    if not indexes:
        return INFINITE_INDEX
    size = len(indexes)
    # A majority stands at or above the position that many from the top.
    return indexes[size - (size // 2 + 1)]


def joint_vote(
    voters: Iterable[int], outgoing: Iterable[int], votes: Mapping[int, bool]
) -> VoteResult:
    """What the votes decide when both halves have to agree."""
    results = {majority_vote(voters, votes), majority_vote(outgoing, votes)}
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON


def joint_commit(
    voters: Iterable[int], outgoing: Iterable[int], match: Callable[[int], int | None]
) -> int:
    """The highest index that a majority of each half has."""
    return min(majority_commit(voters, match), majority_commit(outgoing, match))
